# Karpenter makes the nodes that the gateway's pods ask for, and takes them away again: GPUs only while Ollama has work.

module "karpenter" {
  source  = "terraform-aws-modules/eks/aws//modules/karpenter"
  version = "21.19.0"

  cluster_name                  = module.eks.cluster_name
  namespace                     = "kube-system"
  service_account               = "karpenter"
  iam_role_name                 = "${local.name}-karpenter"
  iam_role_use_name_prefix      = false
  node_iam_role_name            = "${local.name}-node"
  node_iam_role_use_name_prefix = false

  # Session Manager instead of SSH keys.
  node_iam_role_additional_policies = {
    ssm = "arn:${local.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
  }
}

resource "helm_release" "karpenter" {
  name       = "karpenter"
  namespace  = "kube-system"
  repository = "oci://public.ecr.aws/karpenter"
  chart      = "karpenter"
  version    = "1.14.1"

  values = [yamlencode({
    settings = {
      clusterName       = module.eks.cluster_name
      interruptionQueue = module.karpenter.queue_name
    }
    serviceAccount = { name = module.karpenter.service_account }
    nodeSelector   = { "karpenter.sh/controller" = "true" }
  })]
}

resource "helm_release" "nodes" {
  name      = "karpenter-nodes"
  namespace = "kube-system"
  chart     = "${path.module}/charts/karpenter-nodes"

  values = [yamlencode({
    cluster = module.eks.cluster_name
    role    = module.karpenter.node_iam_role_name
    # A dev cluster may lose a worker: leases, fences and the reaper were built for it.
    capacity = var.environment == "prod" ? ["on-demand"] : ["spot", "on-demand"]
  })]

  depends_on = [helm_release.karpenter]
}
