module "eks" {
  source  = "terraform-aws-modules/eks/aws"
  version = "21.19.0"

  name               = local.name
  kubernetes_version = "1.35"

  vpc_id     = module.vpc.vpc_id
  subnet_ids = module.vpc.private_subnets

  endpoint_private_access      = true
  endpoint_public_access       = length(var.cluster_api_cidrs) > 0
  endpoint_public_access_cidrs = var.cluster_api_cidrs

  enable_cluster_creator_admin_permissions = true
  access_entries = {
    for name, arn in var.cluster_admins : name => {
      principal_arn = arn
      policy_associations = {
        admin = {
          policy_arn   = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
          access_scope = { type = "cluster" }
        }
      }
    }
  }

  enabled_log_types                      = ["api", "audit", "authenticator"]
  cloudwatch_log_group_retention_in_days = 30
  deletion_protection                    = var.environment == "prod"

  addons = {
    coredns    = {}
    kube-proxy = {}

    # Without the first setting the NetworkPolicies of k8s/ are written down and never enforced.
    vpc-cni = {
      before_compute       = true
      configuration_values = jsonencode({ enableNetworkPolicy = "true" })
    }

    eks-pod-identity-agent = { before_compute = true }

    # The HPA of the web pods reads it.
    metrics-server = {}

    # gp3, encrypted, the cluster's default class: Ollama's models, Qdrant, and Redis where it runs in the cluster.
    aws-ebs-csi-driver = {
      configuration_values = jsonencode({ defaultStorageClass = { enabled = true } })
      pod_identity_association = [{
        role_arn        = module.ebs_csi.iam_role_arn
        service_account = "ebs-csi-controller-sa"
      }]
    }

    # Writes the gateway's DNS record once the Ingress has a load balancer.
    external-dns = {
      configuration_values = jsonencode({
        domainFilters = [var.domain]
        policy        = "sync"
        txtOwnerId    = local.name
      })
      pod_identity_association = [{
        role_arn        = module.external_dns.iam_role_arn
        service_account = "external-dns"
      }]
    }
  }

  # Karpenter cannot run on what Karpenter makes, so it, Argo CD and the add-ons have nodes of their own.
  eks_managed_node_groups = {
    system = {
      ami_type       = "BOTTLEROCKET_ARM_64"
      instance_types = ["m7g.large"]
      min_size       = 2
      max_size       = 3
      desired_size   = 2
      labels         = { "karpenter.sh/controller" = "true" }
    }
  }

  node_security_group_tags = { "karpenter.sh/discovery" = local.name }
}

module "ebs_csi" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "2.8.1"

  name                      = "${local.name}-ebs-csi"
  attach_aws_ebs_csi_policy = true
}

# For the load balancer controller, which Argo CD installs.
module "load_balancers" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "2.8.1"

  name                            = "${local.name}-load-balancers"
  attach_aws_lb_controller_policy = true

  associations = {
    controller = {
      cluster_name    = module.eks.cluster_name
      namespace       = "kube-system"
      service_account = "aws-load-balancer-controller"
    }
  }
}
