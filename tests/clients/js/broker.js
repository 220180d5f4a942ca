// Starting the broker under test and ending it, by its process.
'use strict'

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')

const root = path.join(__dirname, '..', '..', '..')
const binary = process.env.RINGMQ_BIN || path.join(root, 'target', 'release', 'ringmq')
const isMosquitto = process.env.BROKER === 'mosquitto'
const START_MS = 20_000

async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

function accepts (port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('connect', () => { socket.destroy(); resolve(true) })
    socket.on('error', () => resolve(false))
  })
}

function temporary () { return fs.mkdtempSync(path.join(os.tmpdir(), 'ringmq-js-')) }

function command (port, shards, config) {
  if (config) return [binary, '--config', config, '--shards', String(shards)]
  if (!isMosquitto) return [binary, '--listen', `127.0.0.1:${port}`, '--shards', String(shards)]
  const file = path.join(temporary(), 'mosquitto.conf')
  fs.writeFileSync(file, `listener ${port} 127.0.0.1\nallow_anonymous true\n`)
  return ['/usr/sbin/mosquitto', '-c', file]
}

/** Starts a broker; `url` to reach it, `stop` to end it. `port` is where it accepts by `config`. */
async function start (shards, config, port) {
  port ??= await freePort()
  const [program, ...args] = command(port, shards, config)
  const child = spawn(program, args, { stdio: 'ignore' })
  const end = Date.now() + START_MS
  while (!await accepts(port)) {
    if (child.exitCode !== null) throw new Error(`the broker ended with ${child.exitCode}`)
    if (Date.now() > end) { child.kill('SIGKILL'); throw new Error('the broker does not accept') }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return {
    url: `mqtt://127.0.0.1:${port}`,
    terminate: () => child.kill('SIGTERM'),
    async stop () {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
}

module.exports = { start, freePort, temporary, isMosquitto, shards: isMosquitto ? [1] : [1, 2, 4] }
