// peer_lancedb.js - LanceDB as a contender; the protocol is told in peer.h. No index: its exact
// scan, by dot product for unit rows. It takes the threads it likes.
'use strict'
const fs = require('fs')
const path = require('path')
const readline = require('readline')
const modules = path.resolve(process.argv[2])
const lancedb = require(path.join(modules, '@lancedb/lancedb'))
const arrow = require(path.join(modules, 'apache-arrow'))
const version = require(path.join(modules, '@lancedb/lancedb/package.json')).version

let table, queries, metric, hits

function npy(file) {
  const b = fs.readFileSync(file)
  const at = 10 + b.readUInt16LE(8)
  const [, n, dim] = /'shape': \((\d+), (\d+)/.exec(b.toString('latin1', 10, at)).map(Number)
  return { n, dim, x: new Float32Array(b.buffer, b.byteOffset + at, n * dim) }
}

function batch(m, from, n) {
  const item = new arrow.Field('item', new arrow.Float32(), true)
  const rows = m.x.subarray(from * m.dim, (from + n) * m.dim)
  const child = arrow.makeData({ type: item.type, data: rows, length: n * m.dim })
  const list = new arrow.FixedSizeList(m.dim, item)
  const ids = BigInt64Array.from({ length: n }, (_, i) => BigInt(from + i))
  return new arrow.Table({
    id: new arrow.Vector([arrow.makeData({ type: new arrow.Int64(), data: ids, length: n })]),
    vector: new arrow.Vector([arrow.makeData({ type: list, child, length: n })])
  })
}

function bytes(dir) {
  return fs.readdirSync(dir, { withFileTypes: true })
    .map((e) => [e, path.join(dir, e.name)])
    .map(([e, p]) => e.isDirectory() ? bytes(p) : fs.statSync(p).size)
    .reduce((a, b) => a + b, 0)
}

// What it writes is not synced: `sync` of the whole is the caller's, and not in the time.
async function ingest(base, store) {
  const m = npy(base)
  fs.rmSync(store, { recursive: true, force: true })
  const from = process.hrtime.bigint()
  const db = await lancedb.connect(store)
  await db.createTable('v', batch(m, 0, m.n))
  return [process.hrtime.bigint() - from, bytes(store)]
}

async function search(q, k) {
  const x = queries.x.subarray(q * queries.dim, (q + 1) * queries.dim)
  const from = process.hrtime.bigint()
  hits = await table.query().nearestTo(x).column('vector').distanceType(metric)
    .select(['id', '_distance']).limit(k).toArray()
  return process.hrtime.bigint() - from
}

async function answers(from, n, k, file) {
  const out = Buffer.alloc(n * k * 16, 0xff)
  for (let i = 0; i < n; i++) {
    await search(from + i, k)
    hits.forEach((h, j) => {
      out.writeBigUInt64LE(BigInt(h.id), (i * k + j) * 16)
      out.writeFloatLE(h._distance, (i * k + j) * 16 + 8)
      out.writeUInt32LE(0, (i * k + j) * 16 + 12)
    })
  }
  fs.writeFileSync(file, out)
}

function smaps(name) {
  const text = fs.readFileSync('/proc/self/smaps_rollup', 'latin1')
  const m = new RegExp('^' + name + ':\\s+(\\d+)', 'm').exec(text)
  return Number(m[1]) * 1024
}

async function command(w) {
  if (w[0] === 'ingest') return 'ns ' + (await ingest(w[1], w[3])).join(' ')
  if (w[0] === 'load') {
    queries = npy(w[2])
    metric = w[3] === 'l2' ? 'l2' : 'dot'
    table = await (await lancedb.connect(w[4])).openTable('v')
    return 'ok'
  }
  if (w[0] === 'one') {
    const all = []
    for (let i = 0; i < Number(w[2]); i++) all.push(await search(Number(w[1]) + i, Number(w[3])))
    return 'ns ' + all.join(' ')
  }
  if (w[0] === 'answers') {
    await answers(Number(w[1]), Number(w[2]), Number(w[3]), w[4])
    return 'ok'
  }
  if (w[0] === 'mem') return `mem ${smaps('Anonymous')} ${smaps('Rss')}`
  if (w[0] === 'say') return `say LanceDB ${version} of npm, no index, its own threads`
  return 'no such command'
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line === 'quit') break
    let answer
    try {
      answer = await command(line.split(' '))
    } catch (e) {
      answer = 'no ' + String(e.message).split('\n')[0]
    }
    process.stdout.write(answer + '\n')
  }
  process.exit(0)
}
main()
