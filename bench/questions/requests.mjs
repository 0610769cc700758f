// How long does the longest request to a server take while it is saved, against the pause? The client is outside of what is saved.
import { result, rounds } from '../measure.mjs';
import { longestGap, quicksave, saveServer, startClient, startServer } from '../processes.mjs';

export async function ask(count) {
  const found = await rounds(count, [saveOne]);
  const options = { reference: ['pause', found.pause] };
  return [
    result('a TCP server: pause, as reported', found.pause),
    result('a TCP server: longest request during a save', found.longest, options),
    result('a TCP server: longest request without a save', found.undisturbed),
  ];
}

async function saveOne() {
  const server = await startServer();
  const client = await startClient(server.port);
  await longestGap(client);
  const pause = saveServer(server);
  const longest = await longestGap(client);
  quicksave('check', String(server.pid));
  const undisturbed = await longestGap(client);
  await client.end();
  await server.end();
  return { pause, longest, undisturbed };
}
