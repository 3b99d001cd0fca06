# Batch files and exports. They end by themselves, so that a prompt does not outlive its use.
module "files" {
  source  = "terraform-aws-modules/s3-bucket/aws"
  version = "5.15.4"

  bucket        = "${local.name}-files-${local.account}"
  force_destroy = var.environment != "prod"

  attach_deny_insecure_transport_policy = true
  attach_require_latest_tls_policy      = true

  server_side_encryption_configuration = {
    rule = {
      bucket_key_enabled = true
      apply_server_side_encryption_by_default = {
        sse_algorithm     = "aws:kms"
        kms_master_key_id = aws_kms_key.rest.arn
      }
    }
  }

  versioning = { enabled = true }

  lifecycle_rule = [
    {
      id                                     = "batch"
      enabled                                = true
      filter                                 = { prefix = "batch/" }
      expiration                             = { days = 30 }
      noncurrent_version_expiration          = { days = 1 }
      abort_incomplete_multipart_upload_days = 1
    },
    {
      id                            = "exports"
      enabled                       = true
      filter                        = { prefix = "exports/" }
      expiration                    = { days = 90 }
      noncurrent_version_expiration = { days = 1 }
    },
  ]
}

# The door takes uploads in and hands results out; worker-system does the batches and the exports.
module "file_access" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "2.8.1"

  name                 = "${local.name}-files"
  attach_custom_policy = true

  policy_statements = [
    {
      sid       = "Objects"
      actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      resources = ["${module.files.s3_bucket_arn}/batch/*", "${module.files.s3_bucket_arn}/exports/*"]
    },
    {
      sid       = "List"
      actions   = ["s3:ListBucket"]
      resources = [module.files.s3_bucket_arn]
    },
    {
      sid       = "Key"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [aws_kms_key.rest.arn]
    },
  ]

  association_defaults = {
    cluster_name = module.eks.cluster_name
    namespace    = local.namespace
  }

  associations = {
    web    = { service_account = "web" }
    system = { service_account = "worker-system" }
  }
}
