# `terraform test`: plans with mocked providers; no account, no cost. `terraform init -backend=false` goes first.

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
  environment       = "dev"
  region            = "eu-central-1"
  domain            = "gateway.dev.example.com"
  repository        = "example/gateway"
  cluster_api_cidrs = ["192.0.2.0/24"]
}

run "a_profile_opens_its_own_model_and_no_other" {
  command = plan

  variables {
    bedrock_profiles = ["eu.amazon.nova-lite-v1:0"]
  }

  assert {
    condition     = local.bedrock_profiled_arns == ["arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"]
    error_message = "The model's id is the profile's without its group of regions."
  }

  assert {
    condition     = local.bedrock_profile_arns == ["arn:aws:bedrock:eu-central-1:111122223333:inference-profile/eu.amazon.nova-lite-v1:0"]
    error_message = "A profile belongs to the account and the region."
  }
}

run "a_model_is_named_in_its_region" {
  command = plan

  variables {
    bedrock_models = ["amazon.titan-embed-text-v2:0"]
  }

  assert {
    condition     = local.bedrock_model_arns == ["arn:aws:bedrock:eu-central-1::foundation-model/amazon.titan-embed-text-v2:0"]
    error_message = "No wildcard: one ARN a model."
  }
}
