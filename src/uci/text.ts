// SPDX-License-Identifier: Apache-2.0
// Between bytes, byte strings (one unit, 0 to 255, per byte: what the uci model holds) and text. The runtimes have
// no TextDecoder in common.

/** The bytes as a string of one unit per byte. */
export function byteString(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 4096) {
    parts.push(String.fromCharCode.apply(null, bytes.subarray(i, i + 4096) as unknown as number[]));
  }
  return parts.join('');
}

/** Text of a byte string that is valid UTF-8, else undefined. */
export function decodeUtf8(bytes: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is all of ASCII on purpose
  if (/^[\x00-\x7f]*$/.test(bytes)) return bytes;
  try {
    // Percent escapes of every byte, decoded: strict about overlong forms and surrogates.
    const escapes = Array.from(bytes, c => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
    return decodeURIComponent(escapes.join(''));
  } catch {
    return undefined;
  }
}

/** The byte string of a text as UTF-8; a lone surrogate becomes U+FFFD. */
export function encodeUtf8(text: string): string {
  const parts: string[] = [];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code < 0x80) parts.push(character);
    else if (code >= 0xd800 && code <= 0xdfff) parts.push('\xef\xbf\xbd');
    else {
      parts.push(
        encodeURIComponent(character).replace(/%(..)/g, (_, hex) =>
          String.fromCharCode(Number.parseInt(hex, 16)),
        ),
      );
    }
  }
  return parts.join('');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const HARMFUL = /[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** `text` without what ends a line, moves a terminal's cursor or turns the order of letters around: that is escaped. */
export function oneLine(text: string): string {
  return text.replace(HARMFUL, character => {
    const digits = character.charCodeAt(0).toString(16);
    return digits.length > 2 ? `\\u{${digits}}` : `\\x${digits.padStart(2, '0')}`;
  });
}
