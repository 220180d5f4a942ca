// mqtt.js, 3.1, 3.1.1 and 5, against brokers of 1, 2 and 4 shards.
'use strict'

const { after, before, describe, test } = require('node:test')
const assert = require('node:assert')
const mqtt = require('mqtt')
const { start, isMosquitto, shards } = require('./broker.js')

const VERSIONS = [
  { label: '3.1', protocolVersion: 3, protocolId: 'MQIsdp' },
  { label: '3.1.1', protocolVersion: 4 },
  { label: '5', protocolVersion: 5 }
]
const DEADLINE_MS = 20_000

/** A promise that fails when it takes too long. */
function soon (promise, what) {
  let timer
  const overdue = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what}`)), DEADLINE_MS)
  })
  return Promise.race([promise, overdue]).finally(() => clearTimeout(timer))
}

/** Messages of a client, to wait for. */
class Inbox {
  constructor (client) {
    this.messages = []
    this.waiting = null
    client.on('message', (topic, payload, packet) => {
      this.messages.push({ topic, payload: payload.toString(), packet })
      this.waiting?.()
    })
  }

  async take (count) {
    while (this.messages.length < count) {
      await soon(new Promise((resolve) => { this.waiting = resolve }), `message ${count}`)
    }
    return this.messages.splice(0, count)
  }

  async until (topic) {
    const seen = []
    for (;;) {
      const [message] = await this.take(1)
      if (message.topic === topic) return seen
      seen.push(message)
    }
  }
}

for (const count of shards) {
  describe(`${count} shards`, { concurrency: false }, () => {
    let broker
    let serial = 0
    const open = []

    before(async () => { broker = await start(count) })
    after(async () => {
      for (const client of open) client.end(true)
      await broker.stop()
    })

    async function connect (version, options = {}) {
      const { label, ...protocol } = version
      const client = mqtt.connect(broker.url, {
        ...protocol, clientId: `js${++serial}`, reconnectPeriod: 0, ...options
      })
      open.push(client)
      const inbox = new Inbox(client)
      const connack = await soon(new Promise((resolve, reject) => {
        client.on('connect', resolve)
        client.on('error', reject)
      }), 'CONNACK')
      return { client, inbox, connack }
    }

    function disconnect (client) { return soon(client.endAsync(), 'end') }

    for (const version of VERSIONS) {
      describe(version.label, { concurrency: false }, () => {
        for (const qos of [0, 1, 2]) {
          test(`publish and subscribe at QoS ${qos}`, async () => {
            const topic = `t${++serial}`
            const subscriber = await connect(version)
            const granted = await subscriber.client.subscribeAsync(`${topic}/#`, { qos })
            assert.strictEqual(granted[0].qos, qos)
            const publisher = await connect(version)
            for (let n = 0; n < 200; n++) {
              publisher.client.publish(`${topic}/${n}`, String(n), { qos })
            }
            const messages = await subscriber.inbox.take(200)
            assert.deepStrictEqual(messages.map((m) => Number(m.payload)), [...Array(200).keys()])
            assert(messages.every((m) => m.packet.qos === qos && !m.packet.dup))
          })

          test(`messages at QoS ${qos} for a client that is away`, { skip: qos === 0 }, async () => {
            const topic = `t${++serial}`
            const keep = {
              clientId: `keep${serial}`, clean: false, properties: { sessionExpiryInterval: 100 }
            }
            if (version.protocolVersion < 5) delete keep.properties
            const first = await connect(version, keep)
            await first.client.subscribeAsync(topic, { qos })
            await disconnect(first.client)
            const publisher = await connect(version)
            for (let n = 0; n < 50; n++) await publisher.client.publishAsync(topic, String(n), { qos })
            const second = await connect(version, keep)
            if (version.protocolVersion > 3) assert(second.connack.sessionPresent)
            const messages = await second.inbox.take(50)
            assert.deepStrictEqual(messages.map((m) => Number(m.payload)), [...Array(50).keys()])
          })
        }

        test('retained messages', async () => {
          const topic = `t${++serial}`
          const publisher = await connect(version)
          await publisher.client.publishAsync(`${topic}/a`, 'old', { qos: 1, retain: true })
          await publisher.client.publishAsync(`${topic}/a`, 'new', { qos: 1, retain: true })
          const subscriber = await connect(version)
          await subscriber.client.subscribeAsync(`${topic}/+`, { qos: 1 })
          const [message] = await subscriber.inbox.take(1)
          assert.strictEqual(message.payload, 'new')
          assert(message.packet.retain)
          await publisher.client.publishAsync(`${topic}/a`, '', { qos: 1, retain: true })
          const later = await connect(version)
          await later.client.subscribeAsync(`${topic}/+`, { qos: 1 })
          await publisher.client.publishAsync(`${topic}/end`, '', { qos: 1 })
          assert.deepStrictEqual(await later.inbox.until(`${topic}/end`), [])
        })

        test('will', async () => {
          const topic = `t${++serial}`
          const observer = await connect(version)
          await observer.client.subscribeAsync(topic, { qos: 1 })
          const dying = await connect(version, { will: { topic, payload: 'gone', qos: 1 } })
          dying.client.stream.destroy()
          assert.strictEqual((await observer.inbox.take(1))[0].payload, 'gone')
        })

        test('shared subscription', { skip: isMosquitto }, async () => {
          const topic = `t${++serial}`
          const members = []
          for (let i = 0; i < 4; i++) {
            const member = await connect(version)
            await member.client.subscribeAsync(`$share/g/${topic}`, { qos: 1 })
            members.push(member)
          }
          const publisher = await connect(version)
          for (let n = 0; n < 40; n++) await publisher.client.publishAsync(topic, String(n), { qos: 1 })
          const seen = []
          for (const member of members) {
            const messages = await member.inbox.take(8)
            seen.push(...messages.map((m) => Number(m.payload)))
          }
          assert(seen.length >= 32)
          assert.strictEqual(new Set(seen).size, seen.length)
        })

        test('unsubscribe', async () => {
          const topic = `t${++serial}`
          const subscriber = await connect(version)
          await subscriber.client.subscribeAsync([`${topic}/a`, `${topic}/b`], { qos: 1 })
          await subscriber.client.unsubscribeAsync(`${topic}/a`)
          const publisher = await connect(version)
          await publisher.client.publishAsync(`${topic}/a`, '1', { qos: 1 })
          await publisher.client.publishAsync(`${topic}/b`, '2', { qos: 1 })
          assert.deepStrictEqual(await subscriber.inbox.until(`${topic}/b`), [])
        })

        test('a large payload', async () => {
          const topic = `t${++serial}`
          const payload = 'x'.repeat(900_000)
          const both = await connect(version)
          await both.client.subscribeAsync(topic, { qos: 2 })
          await both.client.publishAsync(topic, payload, { qos: 2 })
          assert.strictEqual((await both.inbox.take(1))[0].payload, payload)
        })
      })
    }

    const V5 = VERSIONS[2]

    test('v5: properties are passed on', async () => {
      const topic = `t${++serial}`
      const both = await connect(V5)
      await both.client.subscribeAsync(topic, { qos: 1, properties: { subscriptionIdentifier: 300 } })
      const properties = {
        payloadFormatIndicator: true,
        contentType: 'text',
        responseTopic: 'answer',
        correlationData: Buffer.from([0, 255]),
        userProperties: { k: ['2', '1'], j: '3' }
      }
      await both.client.publishAsync(topic, 'x', { qos: 1, properties })
      const received = (await both.inbox.take(1))[0].packet.properties
      assert.strictEqual(received.subscriptionIdentifier, 300)
      delete received.subscriptionIdentifier
      assert.deepStrictEqual(
        { ...received, userProperties: { ...received.userProperties } }, properties)
    })

    test('v5: topic aliases in both directions', async () => {
      const topic = `t${++serial}`
      const subscriber = await connect(V5, { properties: { topicAliasMaximum: 5 } })
      await subscriber.client.subscribeAsync(`${topic}/#`, { qos: 1 })
      const publisher = await connect(V5, { autoAssignTopicAlias: true })
      for (let n = 0; n < 30; n++) publisher.client.publish(`${topic}/${n % 7}`, String(n), { qos: 1 })
      const messages = await subscriber.inbox.take(30)
      messages.forEach((m) => assert.strictEqual(m.topic, `${topic}/${Number(m.payload) % 7}`))
    })

    test('v5: a server-assigned client id', async () => {
      const one = await connect(V5, { clientId: '' })
      assert(one.connack.properties.assignedClientIdentifier.length > 0)
    })

    test('v5: takeover', { skip: isMosquitto }, async () => {
      const clientId = `same${++serial}`
      const old = await connect(V5, { clientId })
      const told = new Promise((resolve) => old.client.on('disconnect', resolve))
      await connect(V5, { clientId })
      assert.strictEqual((await soon(told, 'DISCONNECT')).reasonCode, 0x8e)
    })

    test('v5: no local', async () => {
      const topic = `t${++serial}`
      const both = await connect(V5)
      await both.client.subscribeAsync(topic, { qos: 1, nl: true })
      await both.client.publishAsync(topic, 'mine', { qos: 1 })
      const other = await connect(V5)
      await other.client.publishAsync(topic, 'theirs', { qos: 1 })
      assert.strictEqual((await both.inbox.take(1))[0].payload, 'theirs')
    })

    test('v5: 0x8B at the end', { skip: isMosquitto }, async () => {
      const ending = await start(count)
      const client = mqtt.connect(ending.url, { protocolVersion: 5, reconnectPeriod: 0 })
      const told = new Promise((resolve) => client.on('disconnect', resolve))
      await soon(new Promise((resolve) => client.on('connect', resolve)), 'CONNACK')
      ending.terminate()
      assert.strictEqual((await soon(told, 'DISCONNECT')).reasonCode, 0x8b)
      client.end(true)
      await ending.stop()
    })
  })
}
