# Only the bedrock worker's pods can take this role, and it can do nothing but ask the named models.

locals {
  bedrock = "arn:${local.partition}:bedrock"

  bedrock_model_arns   = [for id in var.bedrock_models : "${local.bedrock}:${var.region}::foundation-model/${id}"]
  bedrock_profile_arns = [for id in var.bedrock_profiles : "${local.bedrock}:${var.region}:${local.account}:inference-profile/${id}"]

  # A profile's id is a group of regions, a dot and the model's own: eu.amazon.nova-lite-v1:0.
  bedrock_profiled_arns = [
    for id in var.bedrock_profiles : "${local.bedrock}:*::foundation-model/${join(".", slice(split(".", id), 1, length(split(".", id))))}"
  ]

  bedrock_actions = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]

  bedrock_statements = [
    {
      sid       = "Models"
      actions   = local.bedrock_actions
      resources = local.bedrock_model_arns
    },
    {
      sid       = "Profiles"
      actions   = local.bedrock_actions
      resources = local.bedrock_profile_arns
    },
    {
      sid       = "ModelsThroughProfiles"
      actions   = local.bedrock_actions
      resources = local.bedrock_profiled_arns
      condition = [{
        test     = "StringEquals"
        variable = "bedrock:InferenceProfileArn"
        values   = local.bedrock_profile_arns
      }]
    },
    {
      # What the worker lists for /v1/models. AWS knows no narrower resource for it.
      sid       = "List"
      actions   = ["bedrock:ListFoundationModels"]
      resources = ["*"]
    },
  ]
}

module "bedrock" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "2.8.1"

  name                 = "${local.name}-bedrock"
  attach_custom_policy = true

  policy_statements = [for statement in local.bedrock_statements : statement if length(statement.resources) > 0]

  associations = {
    worker = {
      cluster_name    = module.eks.cluster_name
      namespace       = local.namespace
      service_account = "worker-bedrock"
    }
  }
}
