"""The benchmark: the gateway, its floor and its peers under the same load, before the same mock upstream."""
