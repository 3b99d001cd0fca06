mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

mock_provider "helm" {}

variables {
  environment       = "prod"
  region            = "eu-central-1"
  domain            = "gateway.example.com"
  repository        = "example/gateway"
  cluster_api_cidrs = ["192.0.2.0/24"]
}

run "prod_survives_the_loss_of_a_zone" {
  command = plan

  assert {
    condition     = aws_elasticache_replication_group.redis.num_cache_clusters == 2 && aws_elasticache_replication_group.redis.multi_az_enabled && aws_elasticache_replication_group.redis.automatic_failover_enabled
    error_message = "Redis has a replica in another zone that takes over."
  }

  assert {
    condition     = aws_elasticache_replication_group.redis.transit_encryption_enabled && aws_elasticache_replication_group.redis.at_rest_encryption_enabled
    error_message = "Redis speaks TLS and rests encrypted."
  }

  assert {
    condition     = one(aws_elasticache_parameter_group.redis.parameter).value == "noeviction"
    error_message = "A full Redis must not throw jobs away."
  }
}

run "dev_is_cheap" {
  command = plan

  variables {
    environment = "dev"
    spare       = false
  }

  assert {
    condition     = aws_elasticache_replication_group.redis.num_cache_clusters == 1 && !aws_elasticache_replication_group.redis.multi_az_enabled
    error_message = "One node of Redis."
  }
}

run "the_cluster_is_not_opened_to_everybody" {
  command = plan

  variables {
    cluster_api_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.cluster_api_cidrs]
}

run "a_domain_is_a_host_name" {
  command = plan

  variables {
    domain = "https://gateway.example.com/"
  }

  expect_failures = [var.domain]
}
