// The same tests with Better Auth 1.6.
import './version-1.6.mjs';

await import('./names.test.mjs');
