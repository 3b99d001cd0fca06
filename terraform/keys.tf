# One key for what rests outside the cluster: Redis, S3, Secrets Manager and ECR. The cluster makes its own for its Secrets.
resource "aws_kms_key" "rest" {
  description             = "${local.name}: Redis, S3, Secrets Manager, ECR"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.rest.json
}

resource "aws_kms_alias" "rest" {
  name          = "alias/${local.name}"
  target_key_id = aws_kms_key.rest.key_id
}

data "aws_iam_policy_document" "rest" {
  #checkov:skip=CKV_AWS_109:A key's own policy hands the key to the account's IAM; without this it is locked for ever
  #checkov:skip=CKV_AWS_111:As above
  #checkov:skip=CKV_AWS_356:In a key's own policy "*" means this key
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
}
