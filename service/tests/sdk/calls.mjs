// Every call of the reference with @mesadev/sdk, and its judgement of every delivery.
//
// usage: calls.mjs API_URL KEY HOOK_URL UPSTREAM_URL OTHER_UPSTREAM_URL DELIVERIES_FILE
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Mesa } from '@mesadev/sdk';

const [apiUrl, apiKey, hook, upstreamUrl, other, deliveries] = process.argv.slice(2);
const events = ['push', 'sync.queued', 'sync.in_progress', 'sync.completed', 'sync.failed'];
const mesa = new Mesa({ apiKey, apiUrl });
const repo = 'ts';

async function ended(sync) {
  for (let i = 0; i < 600; i += 1) {
    const now = await mesa.repos.getUpstreamSync({ repo, syncId: sync.id });
    if (now.status === 'completed' || now.status === 'failed') return now;
    await sleep(100);
  }
  throw new Error('the sync does not end');
}

async function receiveAll(webhookSecret, count) {
  const seen = [];
  const receiver = new Mesa({ apiKey, apiUrl, webhookSecret });
  receiver.webhooks.on(events, (event) => { seen.push(event.type); });
  let ours = [];
  for (let i = 0; i < 600 && ours.length < count; i += 1) {
    ours = readFileSync(deliveries, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
    await sleep(100);
  }
  for (const { body, headers } of ours) {
    await receiver.webhooks.receive(new Request(hook, { method: 'POST', body, headers }));
  }
  assert.equal(seen.length, ours.length);
  assert.ok(ours.length >= count);
  return new Set(seen);
}

assert.equal((await mesa.whoami()).org.slug, 'default');
const target = await mesa.webhookTargets.create({ url: hook, name: 'ts', events });
const targets = await mesa.webhookTargets.list();
assert.ok(targets.webhook_targets.some((one) => one.id === target.id));

const token = { kind: 'token', token: 'a-token', token_username: 'x-access-token' };
const made = await mesa.repos.create({ name: repo, upstream: { url: upstreamUrl, auth: token } });
assert.equal(made.upstream.auth_kind, 'token');
assert.equal(made.upstream.latest_sync, null);
const update = (upstream) => mesa.repos.update({ repo, upstream });
assert.equal((await update({ url: upstreamUrl })).upstream.auth_kind, 'token');
const login = { kind: 'username_password', username: 'u', password: 'p' };
assert.equal((await update({ url: upstreamUrl, auth: login })).upstream.auth_kind, 'username_password');
assert.equal((await update({ url: upstreamUrl, auth: null })).upstream.auth_kind, null);

let sync = await ended(await mesa.repos.syncUpstream({ repo, direction: 'pull' }));
assert.equal(sync.status, 'completed');
assert.deepEqual(sync.stats.refs.map((ref) => [ref.name, ref.outcome]), [['refs/heads/main', 'updated']]);
sync = await ended(await mesa.repos.syncUpstream({ repo, direction: 'pull', ref_globs: { branches: 'main' } }));
assert.deepEqual(sync.ref_globs, { branches: 'main', tags: '' });
await update({ url: other });
sync = await ended(await mesa.repos.syncUpstream({ repo, direction: 'push' }));
assert.equal(sync.stats.refs[0].outcome, 'updated');
sync = await ended(await mesa.repos.syncUpstream({ repo, direction: 'push', ref_globs: { tags: 'v*' } }));
assert.deepEqual(sync.stats.refs, []);
await update({ url: `${upstreamUrl}-gone` });
sync = await ended(await mesa.repos.syncUpstream({ repo, direction: 'pull' }));
assert.equal(sync.status, 'failed');
assert.ok(sync.error);

const page = await mesa.repos.listUpstreamSyncs({ repo, limit: 2 });
assert.equal(page.syncs.length, 2);
assert.equal(page.has_more, true);
const rest = await mesa.repos.listUpstreamSyncs({ repo, limit: 100, cursor: page.next_cursor });
assert.equal(rest.syncs.length, 3);
const read = await mesa.repos.get({ repo });
assert.equal(read.upstream.latest_sync.id, page.syncs[0].id);
assert.ok((await mesa.repos.list({ limit: 100 })).repos.some((one) => one.name === repo));

// Five runs of three events each, and the push of the first one.
assert.deepEqual(await receiveAll(target.secret, 16), new Set(events));

const changed = await mesa.webhookTargets.update({ webhookTargetId: target.id, events: ['push'] });
assert.deepEqual(changed.events, ['push']);
await mesa.webhookTargets.delete({ webhookTargetId: target.id });
await mesa.repos.update({ repo, upstream: null });
assert.equal((await mesa.repos.get({ repo })).upstream, null);
await mesa.repos.delete({ repo });
console.log('ok');
