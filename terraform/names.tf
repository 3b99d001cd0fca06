data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_availability_zones" "here" {
  #checkov:skip=CKV_AWS_394:Names are sorted and a new zone gets the next letter, so the first three stay the first three
  # Local zones have no NAT gateways and no ElastiCache.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  name      = "ai-gateway" # one a region of an account: environments lie in accounts of their own
  namespace = "ai-gateway" # of the gateway's own pods: k8s/base
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  zones     = slice(data.aws_availability_zones.here.names, 0, 3)
}
