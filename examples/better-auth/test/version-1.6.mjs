// Makes imports of better-auth those of Better Auth 1.6.
import { registerHooks } from 'node:module';

registerHooks({
  resolve(specifier, context, nextResolve) {
    const own = !context.parentURL?.includes('/node_modules/');
    return nextResolve(own ? specifier.replace(/^better-auth(?=\/|$)/, 'better-auth-1.6') : specifier, context);
  },
});
