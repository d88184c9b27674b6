// Keys as the server's JSON has them: a string, or {base64} where the key is no UTF-8.

const bytesOf = (key) => Uint8Array.from(atob(key.base64), (c) => c.charCodeAt(0));

const escaped = (key) => [...bytesOf(key)].map((b) => `%${b.toString(16).toUpperCase().padStart(2, '0')}`).join('');

/** keyPath is a key as a part of an address. */
export const keyPath = (key) => (typeof key === 'string' ? encodeURIComponent(key) : escaped(key));

/** keyText is a key for people; one that is no text is shown as its bytes. */
export const keyText = (key) => (typeof key === 'string' ? key : escaped(key));

/** keyId tells keys apart: no two keys have the same. */
export const keyId = (key) => JSON.stringify(key);
