using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "sync", worker = .sync),
    (name = "storage", disk = (path = ".data/sync", writable = true)),
    (name = "internet", network = (allow = ["public", "private", "local"])),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:8787", http = (), service = "sync"),
    (name = "operators", address = "127.0.0.1:8788", http = (), service = (name = "sync", entrypoint = "operators")),
  ],
);

const sync :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "dist/worker.js")],
  compatibilityDate = "2026-11-01",
  compatibilityFlags = ["enable_request_signal"],
  globalOutbound = "internet",
  durableObjectNamespaces = [
    (className = "SyncBackendDO", uniqueKey = "usher-example-livestore", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [
    (name = "SYNC_BACKEND_DO", durableObjectNamespace = "SyncBackendDO"),
    (name = "USHER_ISSUER", fromEnvironment = "USHER_ISSUER"),
    (name = "USHER_JWKS_URL", fromEnvironment = "USHER_JWKS_URL"),
  ],
);
