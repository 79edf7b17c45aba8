// Runs a repository's node:test suite, each file in a process of its own, and sends a JUnit report out of it.
// The code under test never runs in this process, so the report is out of its reach.

import { createHmac } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';

const HERE = path.dirname(fileURLToPath(import.meta.url));
// What `node --test` looks for.
const TEST_NAME = /^(test|test-.+|.+[._-]test)\.[cm]?js$/;
const SCRIPT = /\.[cm]?js$/;
const LONGEST_OUTPUT = 20000;

const key = Buffer.from(readFileSync(0, 'utf8').trim(), 'hex');
const plan = JSON.parse(readFileSync(path.join(HERE, 'plan.json'), 'utf8'));
let sequence = 0;
const cases = [];

function send(kind, payload) {
  const data = Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload), 'utf8');
  const head = `${sequence} ${kind} ${data.length}\n`;
  const signature = createHmac('sha256', key).update(head).update(data).digest('hex');
  sequence += 1;
  const frame = Buffer.concat([Buffer.from(`@${signature} ${kind} ${data.length}\n`), data, Buffer.from('\n')]);
  for (let at = 0; at < frame.length; ) {
    try {
      at += writeSync(3, frame, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function testFiles(directory, inTests, found) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const full = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      if (entry.name === 'node_modules' || entry.name.startsWith('.')) continue;
      testFiles(full, inTests || entry.name === 'test', found);
    } else if (entry.isFile() && (inTests ? SCRIPT.test(entry.name) : TEST_NAME.test(entry.name))) {
      found.add(full);
    }
  }
  return found;
}

function printable(text) {
  return String(text)
    .toWellFormed()
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffe\uffff]/g, '\ufffd');
}

function escaped(text) {
  return printable(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

function add(classname, name, verdict, seconds, message, output) {
  cases.push({ classname, name, verdict, seconds, message, output });
  send('case', { id: `${classname}::${name}`, verdict, seconds, message: message.slice(0, 300) });
  process.stderr.write(`${classname}::${name} ... ${verdict}\n`);
  if (output && verdict === 'failed') process.stderr.write(`${output}\n`);
}

function asXml() {
  const tags = { failed: 'failure', error: 'error', skipped: 'skipped' };
  const rows = cases.map((one) => {
    const head = `<testcase classname="${escaped(one.classname)}" name="${escaped(one.name)}" time="${one.seconds}"`;
    if (one.verdict === 'passed') return `${head}/>`;
    const tag = tags[one.verdict];
    return `${head}><${tag} message="${escaped(one.message.slice(0, 2000))}">${escaped(one.output)}</${tag}></testcase>`;
  });
  return Buffer.from(
    `<?xml version="1.0" encoding="utf-8"?>\n<testsuites><testsuite name="node">${rows.join('\n')}</testsuite></testsuites>\n`,
  );
}

// Names of the tests around the one that is being reported, file by file; files may run beside each other.
const open = new Map();

function named(event) {
  const file = event.file ?? '';
  const names = open.get(file) ?? [];
  return [path.relative(plan.root, file) || '.', [...names.slice(0, event.nesting), event.name].join(' > ')];
}

function ended(event, verdict) {
  const error = event.details?.error;
  const cause = error?.cause ?? error;
  const message = error ? String(cause?.message ?? cause) : typeof event.skip === 'string' ? event.skip : '';
  const output = error ? String(cause?.stack ?? error.stack ?? '').slice(0, LONGEST_OUTPUT) : '';
  const seconds = (event.details?.duration_ms ?? 0) / 1000;
  const [classname, name] = named(event);
  if (event.nesting === 0 && path.isAbsolute(event.name) && path.resolve(event.name) === event.file) {
    // A whole file: a process that ended well says nothing about tests that it never reported.
    if (verdict === 'failed') add(classname, '(file)', 'error', seconds, message, output);
    return;
  }
  if (event.details?.type === 'suite') {
    if (verdict === 'failed' && error?.failureType !== 'subtestsFailed') add(classname, name, 'error', seconds, message, output);
    return;
  }
  const left = event.skip !== undefined && event.skip !== false;
  const planned = event.todo !== undefined && event.todo !== false;
  add(classname, name, left || planned ? 'skipped' : verdict, seconds, planned ? `todo ${message}` : message, output);
}

const files = testFiles(plan.root, false, new Set());
for (const name of plan.test_files) {
  const full = path.join(plan.root, name);
  if (SCRIPT.test(name) && TEST_NAME.test(path.basename(name)) && existsSync(full)) files.add(full);
}

function finish() {
  const bad = cases.some((one) => one.verdict === 'failed' || one.verdict === 'error');
  send('report', asXml());
  send('end', { status: bad ? 1 : 0, error: '', collected: cases.length, node: process.version, changed: [] });
  process.exit(bad ? 1 : 0);
}

if (files.size === 0) finish();
const stream = run({ files: [...files].sort(), concurrency: 1 });
stream.on('test:start', (event) => {
  const names = open.get(event.file ?? '') ?? [];
  names.length = event.nesting;
  names.push(event.name);
  open.set(event.file ?? '', names);
});
stream.on('test:pass', (event) => ended(event, 'passed'));
stream.on('test:fail', (event) => ended(event, 'failed'));
for (const kind of ['test:stdout', 'test:stderr']) stream.on(kind, (event) => process.stderr.write(event.message));
stream.on('end', finish);
stream.resume();
