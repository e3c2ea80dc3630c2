import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';

import { accessTo } from '../dist/claims.js';
import { access, checkId, checkStoreId, matches, parsePattern } from '../dist/permissions.js';
import { inCheckout, readJSON } from './support.mjs';

const spec = readJSON(inCheckout('permissions/testdata/permissions.json'));

test('ids, patterns, matching and access follow permissions.json', () => {
  for (const { id, valid } of spec.ids) assert.equal(checkId(id), valid, id);
  for (const { pattern, valid } of spec.patterns) assert.equal(parsePattern(pattern) !== undefined, valid, pattern);
  for (const { pattern, id, match } of spec.match)
    assert.equal(matches(parsePattern(pattern), id), match, `${pattern} ${id}`);
  for (const { grants, id, access: want } of spec.access) {
    assert.equal(
      access(
        grants.map(([pattern, given]) => [parsePattern(pattern), given]),
        id,
      ),
      want,
      `${JSON.stringify(grants)} ${id}`,
    );
  }
  const counts = [spec.ids, spec.patterns, spec.match, spec.access].map((rows) => rows.length);
  assert.deepEqual(counts, [31, 43, 144, 160]);
});

test('store ids are LiveStore’s', () => {
  for (const id of ['notes', 'a_b-C9', 'x'.repeat(128)]) assert.ok(checkStoreId(id), id);
  for (const id of ['', 'a:b', 'a b', 'a*', 'ä', 'a\n', 'x'.repeat(129)]) assert.ok(!checkStoreId(id), id);
});

test('no pattern matches an invalid id', () => {
  for (const id of ['', '*', 'a*', 'a\n', '\ud800', 'x'.repeat(129)]) assert.ok(!matches(parsePattern('*'), id), id);
});

// A small alphabet, so that patterns often match.
const literal = fc.string({ unit: fc.constantFrom('a', 'b', ':', '_', '😀'), minLength: 1, maxLength: 4 });
const pattern = fc.oneof(
  literal,
  literal.map((text) => `${text}*`),
  fc.constant('*'),
);

/** Uses regular expressions, to differ from the code under test. */
function oracle(grants, id) {
  const covers = (text) => new RegExp(`^${text.replace(/\*$/, '.*')}$`, 'su').test(id);
  const given = grants.filter(([text]) => covers(text)).map(([, granted]) => granted);
  return ['full', 'read'].find((level) => given.includes(level)) ?? 'none';
}

test('access agrees with a naive implementation, in any order of grants', () => {
  const grants = fc.array(fc.tuple(pattern, fc.constantFrom('none', 'read', 'full')), { maxLength: 6 });
  fc.assert(
    fc.property(grants, literal, (rows, id) => {
      const parsed = rows.map(([text, granted]) => [parsePattern(text), granted]);
      assert.equal(access(parsed, id), oracle(rows, id));
      assert.equal(access(parsed.reverse(), id), oracle(rows, id));
    }),
    { numRuns: 20_000 },
  );
});

const accessOfNames = (names) => accessTo({ k: 'acc', perms: { r: names } }, { room: 'r' });

test('permission names are read as access by the rules of perms_access.json', () => {
  const { cases, tokens } = readJSON(inCheckout('session/testdata/perms_access.json'));
  for (const { perms, access: want } of cases) {
    assert.equal(accessOfNames(perms), want, JSON.stringify(perms));
  }
  for (const { perms, room, access: want } of tokens) {
    assert.equal(accessTo({ k: 'acc', perms }, { room }), want, `${JSON.stringify(perms)} ${room}`);
  }
  assert.ok(cases.length >= 45 && tokens.length >= 25, `${cases.length} cases, ${tokens.length} tokens`);
});

test('unknown names never give more access', () => {
  const known = ['*:read', '*:write', 'room:read', 'room:write'];
  const unknown = fc.string().filter((name) => !known.includes(name));
  const rank = ['none', 'read', 'full'];
  fc.assert(
    fc.property(fc.subarray(known), fc.array(unknown), (names, others) => {
      assert.ok(rank.indexOf(accessOfNames([...names, ...others])) <= rank.indexOf(accessOfNames(names)));
    }),
    { numRuns: 5_000 },
  );
});
