module "images" {
  source  = "terraform-aws-modules/ecr/aws"
  version = "3.2.0"

  repository_name                 = local.name
  repository_image_tag_mutability = "IMMUTABLE"
  repository_image_scan_on_push   = true
  repository_encryption_type      = "KMS"
  repository_kms_key              = aws_kms_key.rest.arn
  repository_force_delete         = var.environment != "prod"

  repository_read_write_access_arns = [module.pusher.arn]

  repository_lifecycle_policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Layers that no tag needs any more"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "The last hundred builds; releases (v…) are kept"
        selection    = { tagStatus = "tagged", tagPrefixList = ["sha-"], countType = "imageCountMoreThan", countNumber = 100 }
        action       = { type = "expire" }
      },
    ]
  })
}

# GitHub's workflows prove who they are by OIDC; there is no key to steal. Only main and release tags may push.
module "github" {
  source  = "terraform-aws-modules/iam/aws//modules/iam-oidc-provider"
  version = "6.5.0"

  url = "https://token.actions.githubusercontent.com"
}

module "pusher" {
  source  = "terraform-aws-modules/iam/aws//modules/iam-role"
  version = "6.5.0"

  name               = "${local.name}-pusher"
  use_name_prefix    = false
  enable_github_oidc = true

  # All in this one list: the module's other, of exact subjects, would be a second condition that must hold as well.
  oidc_wildcard_subjects = ["${var.repository}:ref:refs/heads/main", "${var.repository}:ref:refs/tags/v*"]

  # Logging in is account-wide; what may be pushed says the repository's own policy.
  create_inline_policy = true
  inline_policy_permissions = {
    login = {
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    }
  }

  depends_on = [module.github]
}
