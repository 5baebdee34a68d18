// SPDX-License-Identifier: Apache-2.0
// Markup behind every text of every answer, which no real router has all at once.

export const MARKUP = '<img class=poison src=x onerror=document.title="owned">';
/**
 * Runs in the page before anything else: in every answer to a question about ovpnd, every text gets markup behind it,
 * but for the words that pages decide by and the names that they ask by.
 */
export const POISON = `
  const MARKUP = ${JSON.stringify(MARKUP)};
  const WORDS = /^(?:role|type|kind|severity|state|name|sections|tunnel|jsonrpc)$/;
  const asked = new Map();
  const { parse, stringify } = JSON;
  const poisoned = (value, key) => {
    if (typeof value === 'string') return WORDS.test(key) ? value : value + MARKUP;
    if (Array.isArray(value)) return value.map(item => poisoned(item, key));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([inner, item]) =>
      [inner, poisoned(item, key === 'peers' ? 'peer ' + inner : inner)]));
  };
  JSON.stringify = (value, ...more) => {
    for (const { id, params } of [value ?? {}].flat()) if (params) asked.set(id, params[1]);
    return stringify(value, ...more);
  };
  JSON.parse = (text, ...more) => {
    const value = parse(text, ...more);
    const one = item => (item?.jsonrpc && /^ovpnd/.test(asked.get(item.id)) ? poisoned(item, '') : item);
    if (sessionStorage.getItem('poison') === null) return value;
    return Array.isArray(value) ? value.map(one) : one(value);
  };
`;
