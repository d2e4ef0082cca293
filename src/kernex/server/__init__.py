"""The control plane: registers devices, stores bundles, runs deployments. Needs ``kernex[server]``."""
