# One primary, and a replica that takes over. Cluster mode is off: Celery's transport does not speak it, and the scripts touch
# keys of several slots. ElastiCache has no AOF with Multi-AZ; what the primary had not yet replicated when it died is lost.

locals {
  redis_host = aws_elasticache_replication_group.redis.primary_endpoint_address
}

resource "aws_elasticache_replication_group" "redis" {
  replication_group_id = local.name
  description          = "Jobs, events and the ledger of ${local.name}"

  engine               = "valkey"
  engine_version       = "8.1"
  node_type            = var.redis_node_type
  parameter_group_name = aws_elasticache_parameter_group.redis.name

  num_cache_clusters         = var.spare ? 2 : 1
  automatic_failover_enabled = var.spare
  multi_az_enabled           = var.spare

  subnet_group_name  = aws_elasticache_subnet_group.redis.name
  security_group_ids = [aws_security_group.redis.id]

  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  at_rest_encryption_enabled = true
  kms_key_id                 = aws_kms_key.rest.arn
  user_group_ids             = [aws_elasticache_user_group.redis.user_group_id]

  snapshot_retention_limit  = var.environment == "prod" ? 7 : 1
  snapshot_window           = "02:00-03:00"
  maintenance_window        = "sun:03:30-sun:04:30"
  final_snapshot_identifier = var.environment == "prod" ? "${local.name}-final" : null

  # A version or node change waits for the window: it is a failover.
  apply_immediately = var.environment != "prod"
}

resource "aws_elasticache_parameter_group" "redis" {
  name   = local.name
  family = "valkey8"

  # A full Redis refuses new jobs; it never throws one away.
  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_subnet_group" "redis" {
  name       = local.name
  subnet_ids = module.vpc.intra_subnets
}

resource "aws_security_group" "redis" {
  name        = "${local.name}-redis"
  description = "Redis, from the cluster's nodes only"
  vpc_id      = module.vpc.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "redis" {
  security_group_id            = aws_security_group.redis.id
  description                  = "The cluster's nodes; the NetworkPolicies of k8s/ say which pods"
  referenced_security_group_id = module.eks.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}

resource "aws_elasticache_user_group" "redis" {
  engine        = "valkey"
  user_group_id = local.name
  user_ids      = [for user in aws_elasticache_user.redis : user.user_id]
}

locals {
  redis_users = {
    gw = "on ~gw:* resetchannels +@all -@dangerous +info -script|flush"
    # Enough to read how much there is in a lane, by the scaler's script.
    keda = "on ~gw:* resetchannels -@all +auth +hello +select +ping +client|setname +client|setinfo +eval +type +llen +hlen +zcard +scard"
  }
}

resource "aws_elasticache_user" "redis" {
  for_each = local.redis_users

  engine        = "valkey"
  user_id       = "${local.name}-${each.key}"
  user_name     = each.key
  access_string = each.value

  authentication_mode {
    type      = "password"
    passwords = [random_password.redis[each.key].result]
  }
}

# The provider has no write-only argument for a user's password, so this one does lie in the state.
resource "random_password" "redis" {
  for_each = local.redis_users

  length  = 48
  special = false
}
