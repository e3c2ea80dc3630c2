import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';

import { parseStrictJSON } from '../dist/json.js';
import { inCheckout } from './support.mjs';

const parse = (text) => parseStrictJSON(Buffer.from(text));
const suite = inCheckout('internal/strictjson/testdata/json-testsuite');

test('JSONTestSuite', () => {
  // Valid JSON that is refused because parsers read it differently.
  const stricter = {
    'y_object_duplicated_key.json': 'duplicate name',
    'y_object_duplicated_key_and_value.json': 'duplicate name',
    'y_object_escaped_null_in_key.json': 'NUL',
    'y_string_null_escape.json': 'NUL',
  };
  const counts = { y: 0, n: 0, i: 0, stricter: 0 };
  for (const name of readdirSync(suite)) {
    let accepted = true;
    try {
      parseStrictJSON(readFileSync(`${suite}/${name}`));
    } catch {
      accepted = false;
    }
    counts[name[0]]++;
    if (stricter[name]) {
      counts.stricter++;
      assert.equal(accepted, false, name);
    } else if (name[0] !== 'i') {
      assert.equal(accepted, name[0] === 'y', name);
    }
  }
  assert.deepEqual(counts, { y: 95, n: 188, i: 35, stricter: 4 });
});

test('accepted JSON is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), (text) => {
      const value = JSON.parse(text);
      let ours;
      try {
        ours = parse(text);
      } catch {
        return; // names in two cases, or a NUL
      }
      assert.deepEqual(ours, value);
    }),
    { numRuns: 5_000 },
  );
});

test('names of the outermost object that are equal under case folding are duplicates', () => {
  for (const [a, b] of [
    ['exp', 'EXP'],
    ['iss', 'iſs'],
    ['kid', '\u212Aid'], // the Kelvin sign
    ['\u00e5', '\u212b'], // the Angstrom sign
    ['straße', 'STRAẞE'],
    ['σ', 'ς'],
    ['\u{10428}', '\u{10400}'],
  ]) {
    assert.throws(() => parse(JSON.stringify({ [a]: 1, [b]: 2 })), SyntaxError, `${a} ${b}`);
    parse(JSON.stringify({ x: { [a]: 1, [b]: 2 } }));
  }
  for (const [a, b] of [
    ['straße', 'strasse'], // one character is not two
    ['i', 'ı'],
    ['i', 'İ'],
    ['e\u0301', '\u00e9'], // nothing is normalised
  ]) {
    parse(JSON.stringify({ [a]: 1, [b]: 2 }));
  }
});

test('large documents are handled like small ones', () => {
  parse(`{${Array.from({ length: 20_000 }, (_, i) => `"n${i}":0`).join()}}`);
  parse(`"${'\\u00e9'.repeat(40_000)}"`);
  assert.throws(() => parse('['.repeat(250_000)), SyntaxError);
  assert.throws(() => parse('['.repeat(100_000) + ']'.repeat(100_000)), SyntaxError);
  assert.throws(() => parse(`"${'\\u0000'.repeat(40_000)}"`), SyntaxError);
});
