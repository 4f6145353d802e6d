// UTF-8: the engine has neither TextEncoder nor TextDecoder.

/** The bytes of a text. A surrogate without its other half becomes U+FFFD. */
export function encode(text) {
  const bytes = [];
  for (const character of text) {
    let point = character.codePointAt(0);
    if (point >= 0xd800 && point < 0xe000) point = 0xfffd;
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 63));
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
    else bytes.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
  }
  return new Uint8Array(bytes);
}

/** The text of whole UTF-8; what is not UTF-8 becomes U+FFFD. */
export function decode(bytes) {
  let text = "";
  let units = [];
  for (let at = 0; at < bytes.length; ) {
    const [point, length] = pointAt(bytes, at);
    units.push(point);
    at += length;
    if (units.length === 4096) {
      text += String.fromCodePoint(...units);
      units = [];
    }
  }
  return text + String.fromCodePoint(...units);
}

function pointAt(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return [first, 1];
  const length = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  const least = [0, 0, 0x80, 0x800, 0x10000][length];
  let point = first & (0x7f >> length);
  for (let next = 1; next < length; next++) {
    const byte = bytes[at + next] ?? 0;
    if ((byte & 0xc0) !== 0x80) return [0xfffd, next];
    point = (point << 6) | (byte & 63);
  }
  const sound = length > 0 && first < 0xf5 && point >= least && point <= 0x10ffff && (point < 0xd800 || point >= 0xe000);
  return sound ? [point, length] : [0xfffd, Math.max(length, 1)];
}

/** Base64 (RFC 4648, with padding). */
export function base64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 4096) binary += String.fromCharCode(...bytes.slice(at, at + 4096));
  return btoa(binary);
}
