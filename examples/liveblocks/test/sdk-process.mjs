// One version of the Node SDK in its own process, called over IPC.
const [version, config] = process.argv.slice(2);
const { Liveblocks } = await import(version);

const calls = {
  /**
   * Authorizes a session. `allow` lists pairs of a pattern and its permissions,
   * which are names or the name of a preset.
   */
  authorize({ userId, options, allow, ...other }) {
    const session = new Liveblocks({ ...JSON.parse(config), ...other }).prepareSession(userId, options);
    for (const [pattern, permissions] of allow) session.allow(pattern, session[permissions] ?? permissions);
    return session.authorize();
  },
  identify: ({ identity, options, ...other }) =>
    new Liveblocks({ ...JSON.parse(config), ...other }).identifyUser(identity, options),
};

process.on('message', async ({ name, args }) => {
  try {
    const { status, body, error } = await calls[name](...args);
    process.send({ status, body, error: error?.message });
  } catch ({ message }) {
    process.send({ threw: message });
  }
});
process.on('disconnect', () => process.exit());
process.send('ready');
