// aedes on a port of its own, for the tests of mqload: node aedes.js PORT
const { Aedes } = require('aedes')
const net = require('node:net')

Aedes.createBroker().then((broker) => {
  net.createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1')
})
