locals {
  cidr = "10.20.0.0/16"
}

module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "6.6.0"

  name = local.name
  cidr = local.cidr
  azs  = local.zones

  # 4,096 addresses a zone for nodes and pods, 256 for load balancers, 256 for Redis, which has no way out.
  private_subnets = [for i in range(3) : cidrsubnet(local.cidr, 4, i)]
  public_subnets  = [for i in range(3) : cidrsubnet(local.cidr, 8, 240 + i)]
  intra_subnets   = [for i in range(3) : cidrsubnet(local.cidr, 8, 244 + i)]

  enable_nat_gateway     = true
  single_nat_gateway     = !var.spare
  one_nat_gateway_per_az = var.spare

  enable_flow_log                                 = true
  create_flow_log_cloudwatch_log_group            = true
  create_flow_log_cloudwatch_iam_role             = true
  flow_log_traffic_type                           = "REJECT"
  flow_log_cloudwatch_log_group_retention_in_days = 30

  public_subnet_tags = { "kubernetes.io/role/elb" = 1 }

  private_subnet_tags = {
    "kubernetes.io/role/internal-elb" = 1
    "karpenter.sh/discovery"          = local.name
  }
}

# Batch files and Bedrock's prompts stay on AWS' own network.
module "endpoints" {
  source  = "terraform-aws-modules/vpc/aws//modules/vpc-endpoints"
  version = "6.6.0"

  vpc_id                     = module.vpc.vpc_id
  subnet_ids                 = module.vpc.private_subnets
  create_security_group      = true
  security_group_name        = "${local.name}-endpoints"
  security_group_description = "HTTPS from the VPC to AWS services"

  security_group_rules = {
    https = {
      description = "HTTPS from the VPC"
      cidr_blocks = [local.cidr]
    }
  }

  endpoints = {
    s3 = {
      service         = "s3"
      service_type    = "Gateway"
      route_table_ids = module.vpc.private_route_table_ids
    }
    bedrock = {
      service             = "bedrock-runtime"
      private_dns_enabled = true
    }
  }
}
