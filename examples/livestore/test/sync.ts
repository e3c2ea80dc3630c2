// LiveStore's wire format, for requests that its own client does not send.
import { connect } from 'node:net';

import { until } from '../../usher.mjs';

function syncPath(transport: 'http' | 'ws', storeId: string, authToken: string | undefined): string {
  const params = new URLSearchParams({ storeId, transport });
  if (authToken !== undefined) params.set('payload', encodeURIComponent(JSON.stringify({ authToken })));
  return `/?${params}`;
}

function pullRequest(tag: 'SyncHttpRpc.Pull' | 'SyncWsRpc.Pull', storeId: string, authToken: string | undefined): string {
  return rpc(tag, { storeId, payload: { authToken }, cursor: { _tag: 'None' }, live: true });
}

function rpc(tag: string, payload: object): string {
  return JSON.stringify({ _tag: 'Request', id: '1', tag, payload, headers: [] });
}

interface Caller {
  authToken?: string | undefined;
  headers?: Record<string, string>;
}

async function post(address: string, storeId: string, { authToken, headers }: Caller, body: string) {
  const response = await fetch(`http://${address}${syncPath('http', storeId, authToken)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  const text = await response.text();
  return { status: response.status, body: text, code: /LiveStoreAuthError: (\w+)/.exec(text)?.[1] };
}

/** Pulls over HTTP. Returns the status, and the code if the hook refused. */
export function pull(address: string, storeId: string, caller: Caller) {
  return post(address, storeId, caller, pullRequest('SyncHttpRpc.Pull', storeId, caller.authToken));
}

/** Pushes a store's first event over HTTP. */
export function push(address: string, storeId: string, caller: Caller, event: { name: string; args: object }) {
  const numbers = { seqNum: 1, parentSeqNum: 0, clientId: 'test', sessionId: 'test' };
  const request = { storeId, batch: [{ ...event, ...numbers }], backendId: { _tag: 'None' } };
  return post(address, storeId, caller, rpc('SyncHttpRpc.Push', request));
}

/** A peer that pulls and then only listens. It does not answer a close. */
export async function openSocket(address: string, storeId: string, authToken: string) {
  const [host, port] = address.split(':') as [string, string];
  const socket = connect(Number(port), host);
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk) => (bytes = Buffer.concat([bytes, chunk])));
  socket.write(
    `GET ${syncPath('ws', storeId, authToken)} HTTP/1.1\r\nHost: ${address}\r\n` +
      'Connection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const head = () => bytes.indexOf('\r\n\r\n');
  await until('an answer to the upgrade', () => head() > 0);

  /** The server's frames so far: RFC 6455, section 5.2. */
  function* frames(): Generator<{ opcode: number; body: Buffer }> {
    for (let at = head() + 4; at + 2 <= bytes.length; ) {
      const opcode = bytes[at]! & 0x0f;
      let [length, start] = [bytes[at + 1]!, at + 2];
      if (length === 126) [length, start] = [bytes.readUInt16BE(start), start + 2];
      if (length === 127) throw new Error('unexpected frame');
      if (start + length > bytes.length) return;
      yield { opcode, body: bytes.subarray(start, start + length) };
      at = start + length;
    }
  }
  const text = () => [...frames()].filter(({ opcode }) => opcode === 1).map(({ body }) => body.toString()).join('\n');

  return {
    text,
    status: Number(bytes.toString('latin1', 9, 12)),
    closeCode: () => [...frames()].find(({ opcode }) => opcode === 8)?.body.readUInt16BE(0),
    /** Resolves once the server has answered, and sends events to this socket. */
    async pull(asToken = authToken) {
      const before = text().length;
      send(pullRequest('SyncWsRpc.Pull', storeId, asToken));
      await until('an answer to the pull', () => text().length > before);
    },
    send,
    end: () => socket.destroy(),
  };

  function send(message: string): void {
    const body = Buffer.from(message);
    const frame = Buffer.alloc(8); // a final text frame, masked with zeros
    frame.writeUInt8(0x81, 0);
    frame.writeUInt8(0x80 | 126, 1);
    frame.writeUInt16BE(body.length, 2);
    socket.write(Buffer.concat([frame, body]));
  }
}
