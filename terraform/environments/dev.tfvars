environment       = "dev"
region            = "eu-central-1"
domain            = "gateway.dev.example.com"
repository        = "example/gateway"
cluster_api_cidrs = ["192.0.2.0/24"]

redis_node_type = "cache.t4g.small"
spare           = false

bedrock_profiles = ["eu.amazon.nova-lite-v1:0"]
