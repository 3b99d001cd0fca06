environment       = "prod"
region            = "eu-central-1"
domain            = "gateway.example.com"
repository        = "example/gateway"
cluster_api_cidrs = ["192.0.2.0/24"]

redis_node_type = "cache.r7g.large"
spare           = true

bedrock_profiles = ["eu.amazon.nova-lite-v1:0"]
