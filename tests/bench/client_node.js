// client_node: amqplib beside the other clients of the bench.
// Called as `node client_node.js MODE PORT BODY MESSAGES`; modes: consume, consume-noack, publish, publish-confirm, rtt,
// confirm-one.
// SPDX-License-Identifier: MIT
'use strict';

const { once } = require('node:events');
const amqplib = require('amqplib');

const PREFETCH = 1000;
const OUTSTANDING = 1000;
const TRIP_WARM_UP = 100;
const PROPERTIES = { contentType: 'text/plain', persistent: false };

let bodyRead = 0; // keeps the reading of bodies alive

function fail(why) {
   console.error('amqplib:', why);
   process.exit(1);
}

// The measured part of a run. CPU is of all threads: those of the compiler and the collector, too.
function begin() {
   return { cpu: process.cpuUsage(), wall: process.hrtime.bigint() };
}

function stop(span) {
   return { wall: Number(process.hrtime.bigint() - span.wall) / 1e9, cpu: process.cpuUsage(span.cpu) };
}

function finish(run, span, counted, more, took = stop(span)) {
   const { wall, cpu } = took;
   console.log(JSON.stringify({
      client: 'amqplib', mode: run.mode, body: run.body, messages: counted,
      seconds: Number(wall.toFixed(6)),
      rate: Number((counted / wall).toFixed(1)),
      cpu_us_per_msg: Number(((cpu.user + cpu.system) / counted).toFixed(4)),
      max_rss_kib: process.resourceUsage().maxRSS,
      ...more,
   }));
}

async function open(run, confirms) {
   const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${run.port}/`);
   connection.on('error', fail);
   const channel = await (confirms ? connection.createConfirmChannel() : connection.createChannel());
   channel.on('error', fail);
   return { connection, channel };
}

async function consume(run, noAck) {
   const { connection, channel } = await open(run);
   let seen = 0;
   let span;
   if (!noAck) await channel.prefetch(PREFETCH);
   await new Promise((done) => {
      channel.consume('bench', (msg) => {
         if (msg === null) fail('the consumer was cancelled');
         if (seen === 0) span = begin();
         seen++;
         if (msg.content.length > 0) bodyRead = msg.content[0];
         if (!noAck) channel.ack(msg);
         if (seen === run.messages) {
            finish(run, span, run.messages - 1);
            done();
         }
      }, { noAck, consumerTag: 'bench' }).catch(fail);
   });
   await channel.close(); // the close of a connection overtakes the last acks
   await connection.close();
}

// Measured up to channel.close-ok, so that the peer has taken every message.
async function publish(run) {
   const { connection, channel } = await open(run);
   const body = Buffer.alloc(run.body, 'x');
   const span = begin();
   for (let n = 0; n < run.messages; n++) {
      if (!channel.publish('', 'bench', body, PROPERTIES)) await once(channel, 'drain');
   }
   await channel.close();
   finish(run, span, run.messages);
   await connection.close();
}

async function publishConfirm(run) {
   const { connection, channel } = await open(run, true);
   const body = Buffer.alloc(run.body, 'x');
   let outstanding = 0;
   let wake = null;
   const onConfirm = (err) => {
      if (err) fail(err);
      outstanding--;
      if (wake) wake();
   };
   const span = begin();
   for (let n = 0; n < run.messages; n++) {
      while (outstanding >= OUTSTANDING) await new Promise((resolve) => { wake = resolve; });
      wake = null;
      outstanding++;
      if (!channel.publish('', 'bench', body, PROPERTIES, onConfirm)) await once(channel, 'drain');
   }
   await channel.waitForConfirms();
   await channel.close();
   finish(run, span, run.messages);
   await connection.close();
}

// Sorts the times (us) of a run, and prints each.
function finishTrips(run, span, trips) {
   const took = stop(span);
   trips.sort((a, b) => a - b);
   finish(run, span, run.messages, {
      median_us: Number(trips[Math.floor(run.messages / 2)].toFixed(1)),
      p99_us: Number(trips[Math.floor(run.messages * 0.99)].toFixed(1)),
      trips_us: trips.map((trip) => Number(trip.toFixed(1))),
   }, took);
}

// One await for each message.
async function confirmOne(run) {
   const { connection, channel } = await open(run, true);
   const body = Buffer.alloc(run.body, 'x');
   const trips = [];
   let span;
   const publishOne = () => new Promise((resolve) => {
      channel.publish('', 'bench-node-a', body, PROPERTIES, (err) => (err ? fail(err) : resolve()));
   });
   await channel.assertQueue('bench-node-a', { durable: false, exclusive: true, autoDelete: true });
   for (let n = -TRIP_WARM_UP; n < run.messages; n++) {
      if (n === 0) span = begin();
      const start = process.hrtime.bigint();
      await publishOne();
      if (n >= 0) trips.push(Number(process.hrtime.bigint() - start) / 1e3);
   }
   finishTrips(run, span, trips);
   await connection.close();
}

// Publishes to one queue, whose callback replies to another, whose callback starts the next trip.
async function roundTrips(run) {
   const { connection, channel } = await open(run);
   const body = Buffer.alloc(run.body, 'x');
   const trips = [];
   let count = 0;
   let start;
   let span;
   const ask = () => {
      start = process.hrtime.bigint();
      channel.publish('', 'bench-node-a', body, PROPERTIES);
   };
   const onRequest = (msg) => channel.publish('', 'bench-node-b', msg.content, PROPERTIES);
   let done;
   const ended = new Promise((resolve) => { done = resolve; });
   const onAnswer = () => {
      count++;
      if (count > TRIP_WARM_UP) trips.push(Number(process.hrtime.bigint() - start) / 1e3);
      if (count === TRIP_WARM_UP) span = begin();
      if (trips.length < run.messages) {
         ask();
         return;
      }
      finishTrips(run, span, trips);
      done();
   };
   for (const [queue, handler] of [['bench-node-a', onRequest], ['bench-node-b', onAnswer]]) {
      await channel.assertQueue(queue, { durable: false, exclusive: true, autoDelete: true });
      await channel.consume(queue, handler, { noAck: true, consumerTag: queue });
   }
   ask();
   await ended;
   await connection.close();
}

const modes = {
   'consume': (run) => consume(run, false),
   'consume-noack': (run) => consume(run, true),
   'publish': publish,
   'publish-confirm': publishConfirm,
   'rtt': roundTrips,
   'confirm-one': confirmOne,
};

const [mode, port, body, messages] = process.argv.slice(2);
if (!modes[mode] || !Number(messages)) fail('usage: client_node.js MODE PORT BODY MESSAGES');
modes[mode]({ mode, port: Number(port), body: Number(body), messages: Number(messages) }).catch(fail);
