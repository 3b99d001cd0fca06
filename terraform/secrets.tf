# External Secrets copies these into the cluster, one Secret a pod kind: k8s/components/external-secrets and elasticache name them.

locals {
  # id:64 hex digits, as GATEWAY_SEAL_KEY and GATEWAY_DOOR_KEY are read. The door's master goes to the web pods only.
  masters = toset(["seal", "door"])
}

# {"OPENAI_API_KEY": …, "ANTHROPIC_API_KEY": …}: given by hand after the apply, as terraform/README.md says. It is made empty.
resource "aws_secretsmanager_secret" "providers" {
  #checkov:skip=CKV2_AWS_57:Only the provider's own console issues these keys; a new one is put in by hand and taken up without a restart
  name        = "${local.name}/llm-api-keys"
  description = "The providers' keys; each worker mounts its own"
  kms_key_id  = aws_kms_key.rest.arn
}

resource "aws_secretsmanager_secret" "master" {
  #checkov:skip=CKV2_AWS_57:An old master must open what it sealed until the longest retention is over, so rotation is an edit (new,old)
  for_each = local.masters

  name        = "${local.name}/${each.key}"
  description = "Sealing master: ${each.key}"
  kms_key_id  = aws_kms_key.rest.arn
}

ephemeral "random_password" "master" {
  for_each = local.masters

  length           = 64
  lower            = false
  upper            = false
  numeric          = true
  special          = true
  override_special = "abcdef" # hex digits
}

# Written once and never read back: neither plan nor state holds it. A rotation is an edit of the secret (new,old), not of this.
resource "aws_secretsmanager_secret_version" "master" {
  for_each = local.masters

  secret_id                = aws_secretsmanager_secret.master[each.key].id
  secret_string_wo         = "k1:${ephemeral.random_password.master[each.key].result}"
  secret_string_wo_version = 1
}

resource "aws_secretsmanager_secret" "redis" {
  #checkov:skip=CKV2_AWS_57:Rotated with ElastiCache's users, by -replace of their random_password
  name        = "${local.name}/redis"
  description = "The gateway's URL of Redis; address, name and password of KEDA"
  kms_key_id  = aws_kms_key.rest.arn
}

resource "aws_secretsmanager_secret_version" "redis" {
  secret_id = aws_secretsmanager_secret.redis.id
  secret_string_wo = jsonencode({
    url      = "rediss://gw:${random_password.redis["gw"].result}@${local.redis_host}:6379/0"
    address  = "${local.redis_host}:6379"
    username = "keda"
    password = random_password.redis["keda"].result
  })
  secret_string_wo_version = 1
}

module "external_secrets" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "2.8.1"

  name                           = "${local.name}-external-secrets"
  attach_external_secrets_policy = true

  external_secrets_secrets_manager_arns = [
    for secret in concat(
      [aws_secretsmanager_secret.providers, aws_secretsmanager_secret.redis],
      values(aws_secretsmanager_secret.master),
    ) : secret.arn
  ]
  external_secrets_ssm_parameter_arns = []
  external_secrets_kms_key_arns       = [aws_kms_key.rest.arn]
  external_secrets_create_permission  = false

  associations = {
    operator = {
      cluster_name    = module.eks.cluster_name
      namespace       = "external-secrets"
      service_account = "external-secrets"
    }
  }
}
