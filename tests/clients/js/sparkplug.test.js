// An edge node by sparkplug-client, and a host application by mqtt.js with sparkplug-payload.
'use strict'

const { test } = require('node:test')
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const mqtt = require('mqtt')
const { newClient } = require('sparkplug-client')
const sparkplug = require('sparkplug-payload').get('spBv1.0')
const { start, freePort, temporary, isMosquitto } = require('./broker.js')

const DEADLINE_MS = 20_000
const KEPT = '$sparkplug/certificates/'
const NODE = 'plant/NBIRTH/line 1'
const DEVICE = 'plant/DBIRTH/line 1/press 7'

/** Looks again until what `read` gives is there. */
async function eventually (what, read) {
  const end = Date.now() + DEADLINE_MS
  for (;;) {
    const found = await read()
    if (found) return found
    if (Date.now() > end) throw new Error(`no ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A client and what it has got, by topic. */
async function subscriber (url, filters, will) {
  const client = await mqtt.connectAsync(url, { will, reconnectPeriod: 0 })
  const got = []
  client.on('message', (topic, payload, packet) => got.push({ topic, payload, ...packet }))
  await client.subscribeAsync(filters, { qos: 1 })
  const one = (topic) => eventually(topic, () => got.find((message) => message.topic === topic))
  return { client, got, one }
}

// A birth has the timestamp of the will of its connection.
const since = Date.now()
const state = (online) => JSON.stringify({ online, timestamp: since })
const number = (long) => Number(long)

async function running (shards) {
  const [port, admin] = [await freePort(), await freePort()]
  const file = path.join(temporary(), 'ringmq.toml')
  fs.writeFileSync(file, `listen = ["127.0.0.1:${port}"]\nadmin-listen = ["127.0.0.1:${admin}"]\nsparkplug = true\n`)
  const broker = await start(shards, file, port)
  const read = async (what) => (await fetch(`http://127.0.0.1:${admin}/api/v1/sparkplug/${what}`)).json()
  return { broker, read }
}

for (const shards of [1, 4]) {
  // conformance: sparkplug:tck-id-conformance-mqtt-aware-basic sparkplug:tck-id-conformance-mqtt-aware-store sparkplug:tck-id-conformance-mqtt-qos0 sparkplug:tck-id-conformance-mqtt-qos1 sparkplug:tck-id-conformance-mqtt-will-messages sparkplug:tck-id-conformance-mqtt-retained
  test(`an edge node, its device and a host, ${shards} shards`, { skip: isMosquitto }, async () => {
    const { broker, read } = await running(shards)
    let node
    let host
    let late
    try {
      const topic = 'spBv1.0/STATE/scada'
      host = await subscriber(broker.url, ['spBv1.0/#', `${KEPT}#`],
        { topic, payload: state(false), qos: 1, retain: true })
      await host.client.publishAsync(topic, state(true), { qos: 1, retain: true })

      const before = Date.now()
      node = newClient({
        serverUrl: broker.url, username: '', password: '', groupId: 'plant', edgeNode: 'line 1', clientId: 'line-1'
      })
      await new Promise((resolve) => node.on('birth', resolve))
      const metrics = (value) => ({ timestamp: 7, metrics: [{ name: 'force', value, type: 'float' }] })
      node.publishNodeBirth({ timestamp: 7, metrics: [{ name: 'Node Control/Rebirth', value: false, type: 'boolean' }] })
      node.publishDeviceBirth('press 7', metrics(0))
      for (let n = 0; n < 300; n++) node.publishDeviceData('press 7', metrics(n))
      const data = 'spBv1.0/plant/DDATA/line 1/press 7'
      await eventually('data', () => host.got.filter((message) => message.topic === data).length === 300)

      // Births as they came, and their certificates.
      const births = []
      for (const name of [NODE, DEVICE]) {
        const [live, kept] = [await host.one(`spBv1.0/${name}`), await host.one(`${KEPT}spBv1.0/${name}`)]
        assert.deepStrictEqual(kept.payload, live.payload)
        assert.strictEqual(live.retain, false)
        assert.strictEqual(kept.retain, true)
        births.push(live)
      }
      const messages = host.got.filter((message) => message.topic.startsWith('spBv1.0/plant/'))
      const seqs = messages.map((message) => number(sparkplug.decodePayload(message.payload).seq))
      assert.deepStrictEqual(seqs, Array.from({ length: 302 }, (_, n) => n % 256))

      const known = await eventually('all of them', async () => {
        const answer = await read('nodes/plant/line%201')
        return answer.node?.messages === 302 && answer
      })
      assert.strictEqual(known.node.online, true)
      assert.deepStrictEqual([known.node.gaps, known.node.devices_online], [0, 1])
      assert.strictEqual(known.devices[0].device, 'press 7')
      assert.strictEqual((await read('hosts')).hosts[0].online, true)

      // The will, written when it connected, has the time of its delivery; the certificates stay.
      node.client.end(true)
      const death = sparkplug.decodePayload((await host.one('spBv1.0/plant/NDEATH/line 1')).payload)
      assert.ok(number(death.timestamp) >= before, `${death.timestamp}`)
      assert.strictEqual(death.metrics[0].name, 'bdSeq')
      await eventually('death', async () => !(await read('nodes/plant/line%201')).node.online)
      late = await subscriber(broker.url, [`${KEPT}spBv1.0/plant/#`, topic])
      assert.deepStrictEqual((await late.one(`${KEPT}spBv1.0/${NODE}`)).payload, births[0].payload)
      assert.deepStrictEqual((await late.one(`${KEPT}spBv1.0/${DEVICE}`)).payload, births[1].payload)

      host.client.end(true)
      await eventually('the host', () => late.got.find((message) => message.topic === topic && message.payload.includes('false')))
      await eventually('its state', async () => (await read('hosts')).hosts[0].online === false)
    } finally {
      node?.stop()
      host?.client.end(true)
      late?.client.end(true)
      await broker.stop()
    }
  })
}
