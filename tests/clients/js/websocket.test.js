// mqtt.js over WebSocket, with and without TLS: in Node, and in a page of a real browser.
'use strict'

const { after, before, describe, test } = require('node:test')
const assert = require('node:assert')
const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const mqtt = require('mqtt')
const WebSocket = require('ws')
const { chromium } = require('playwright-core')
const { start, freePort, temporary, isMosquitto } = require('./broker.js')

const VERSIONS = [
  { label: '3.1', protocolVersion: 3, protocolId: 'MQIsdp' },
  { label: '3.1.1', protocolVersion: 4 },
  { label: '5', protocolVersion: 5 }
]
const SCHEMES = ['ws', 'wss']
const DEADLINE_MS = 20_000
const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium'
// No sandbox: tests may run as root. The others keep the browser from looking for the internet.
const BROWSER_FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'
]

/** A certificate of its own for localhost. */
function certificate (folder) {
  const [key, chain] = ['key.pem', 'chain.pem'].map((name) => path.join(folder, name))
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-keyout', key, '-out', chain, '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  ], { stdio: 'ignore' })
  return { key, chain }
}

/** A broker with a listener for each scheme, and a third one for pages of one origin only. */
async function startBroker (shards, origin) {
  const folder = temporary()
  const { key, chain } = certificate(folder)
  const ports = { ws: await freePort(), wss: await freePort(), strict: await freePort() }
  const config = path.join(folder, 'ringmq.toml')
  fs.writeFileSync(config, `
[[listener]]
address = "127.0.0.1:${ports.ws}"
transport = "ws"

[[listener]]
address = "127.0.0.1:${ports.wss}"
transport = "wss"
tls-certificate = ["${chain}"]
tls-key = ["${key}"]

[[listener]]
address = "127.0.0.1:${ports.strict}"
transport = "ws"
websocket-path = "/strict"
websocket-origins = ["${origin}"]
`)
  return { ports, ...await start(shards, config, ports.ws) }
}

function connect (url, options) {
  const client = mqtt.connect(url, { reconnectPeriod: 0, rejectUnauthorized: false, ...options })
  return new Promise((resolve, reject) => {
    client.once('connect', () => resolve(client))
    client.once('error', reject)
    setTimeout(() => reject(new Error('no CONNACK')), DEADLINE_MS).unref()
  })
}

for (const shards of isMosquitto ? [] : [1, 4]) {
  describe(`Node, ${shards} shards`, { concurrency: false }, () => {
    let broker
    let serial = 0
    before(async () => { broker = await startBroker(shards, 'http://nowhere.example') })
    after(() => broker.stop())

    for (const scheme of SCHEMES) {
      for (const { label, ...version } of VERSIONS) {
        test(`${label} over ${scheme}: messages of every size, at every QoS`, async () => {
          const url = `${scheme}://127.0.0.1:${broker.ports[scheme]}/mqtt`
          const topic = `t${++serial}`
          const [one, other] = [await connect(url, version), await connect(url, version)]
          await one.subscribeAsync(topic, { qos: 2 })
          const sizes = [0, 1, 100, 125, 126, 127, 1_000, 65_500, 65_536, 300_000]
          const seen = new Promise((resolve) => {
            const messages = []
            one.on('message', (_, payload, packet) => {
              messages.push([payload.length, packet.qos])
              if (messages.length === 3 * sizes.length) resolve(messages)
            })
          })
          const sent = []
          for (const qos of [0, 1, 2]) {
            for (const size of sizes) {
              sent.push([size, qos])
              await other.publishAsync(topic, Buffer.alloc(size, 7), { qos })
            }
          }
          // QoS 0 may overtake what waits for a window; each QoS keeps its order.
          const order = (messages) => messages.sort((a, b) => a[1] - b[1])
          assert.deepStrictEqual(order(await seen), sent)
          await Promise.all([one.endAsync(), other.endAsync()])
        })
      }
    }

    test('the subprotocol mqttv3.1 is agreed on', async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${broker.ports.ws}/mqtt`, ['mqttv3.1'])
      await new Promise((resolve, reject) => { socket.on('open', resolve).on('error', reject) })
      assert.strictEqual(socket.protocol, 'mqttv3.1')
      assert.strictEqual(socket.extensions, '')
      socket.close(1000)
      const [code] = await new Promise((resolve) => socket.on('close', (...all) => resolve(all)))
      assert.strictEqual(code, 1000)
    })

    test('a client that cuts its connection leaves its will', async () => {
      const url = `ws://127.0.0.1:${broker.ports.ws}/mqtt`
      const topic = `t${++serial}`
      const observer = await connect(url)
      await observer.subscribeAsync(topic)
      const seen = new Promise((resolve) => observer.once('message', (_, p) => resolve(p.toString())))
      const dying = await connect(url, { will: { topic, payload: 'gone', qos: 0 } })
      dying.stream.destroy()
      assert.strictEqual(await seen, 'gone')
      await observer.endAsync()
    })
  })
}

describe('Chromium', { skip: isMosquitto || !fs.existsSync(CHROMIUM), concurrency: false }, () => {
  let broker, browser, pages, origin, profile

  before(async () => {
    const library = fs.readFileSync(path.join(__dirname, 'node_modules/mqtt/dist/mqtt.min.js'))
    pages = http.createServer((request, response) => {
      const isLibrary = request.url === '/mqtt.js'
      response.setHeader('Content-Type', isLibrary ? 'text/javascript' : 'text/html')
      response.end(isLibrary ? library : '<!doctype html><script src="/mqtt.js"></script>')
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => pages.on('listening', resolve))
    origin = `http://localhost:${pages.address().port}`
    broker = await startBroker(2, origin)
    profile = temporary()
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM, headless: true, args: BROWSER_FLAGS, ignoreHTTPSErrors: true
    })
  })
  after(async () => {
    await browser?.close()
    await broker?.stop()
    pages?.close()
    fs.rmSync(profile, { recursive: true, force: true })
  })

  /** Opens a page of a host and lets it send itself messages; the answer, or why there is none. */
  async function converse (host, url, options) {
    const page = await browser.newPage()
    await page.goto(`http://${host}:${pages.address().port}/`)
    const answer = await page.evaluate(([url, options]) => new Promise((resolve) => {
      /* global mqtt */
      const client = mqtt.connect(url, { reconnectPeriod: 0, ...options })
      const seen = []
      client.on('message', (topic, payload, packet) => {
        seen.push([payload.length, packet.qos])
        if (seen.length === 3) { client.end(); resolve(seen) }
      })
      client.on('error', (error) => resolve(String(error)))
      client.on('close', () => resolve('closed'))
      client.on('connect', async () => {
        const topic = 'page/' + Math.random()
        await client.subscribeAsync(topic, { qos: 2 })
        await client.publishAsync(topic, 'x', { qos: 0 })
        await client.publishAsync(topic, 'y'.repeat(1000), { qos: 1 })
        await client.publishAsync(topic, 'z'.repeat(200_000), { qos: 2 })
      })
    }), [url, options])
    await page.close()
    return answer
  }

  const expected = [[1, 0], [1000, 1], [200_000, 2]]

  for (const scheme of SCHEMES) {
    for (const { label, ...version } of VERSIONS) {
      test(`mqtt.js ${label} in a page, over ${scheme}`, async () => {
        const url = `${scheme}://127.0.0.1:${broker.ports[scheme]}/mqtt`
        assert.deepStrictEqual(await converse('localhost', url, version), expected)
      })
    }
  }

  test('a page of an origin on the list may connect, another may not', async () => {
    const url = `ws://127.0.0.1:${broker.ports.strict}/strict`
    assert.deepStrictEqual(await converse('localhost', url), expected)
    const refused = await converse('127.0.0.1', url)
    assert.strictEqual(typeof refused, 'string', 'another origin')
  })
})
