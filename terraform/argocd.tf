# Terraform ends here: Argo CD brings up everything inside the cluster from k8s/argocd, and keeps it so.

resource "helm_release" "argocd" {
  name             = "argocd"
  namespace        = "argocd"
  create_namespace = true
  repository       = "https://argoproj.github.io/argo-helm"
  chart            = "argo-cd"
  version          = "10.1.1"

  values = [yamlencode({
    global = { nodeSelector = { "karpenter.sh/controller" = "true" } }
    configs = {
      # Reached by `kubectl port-forward`; nothing of it is exposed.
      params = { "server.insecure" = true }
    }
    dex           = { enabled = false }
    notifications = { enabled = false }
  })]

  depends_on = [helm_release.nodes]
}

resource "helm_release" "root" {
  name       = "root"
  namespace  = "argocd"
  repository = "https://argoproj.github.io/argo-helm"
  chart      = "argocd-apps"
  version    = "2.0.5"

  values = [yamlencode({
    applications = {
      # The app of apps; once there, it looks after itself (k8s/argocd/root.yaml).
      ai-gateway-apps = {
        namespace  = "argocd"
        project    = "default"
        finalizers = ["resources-finalizer.argocd.argoproj.io"]
        source = {
          repoURL        = "https://github.com/${var.repository}.git"
          targetRevision = var.revision
          path           = "k8s/argocd"
        }
        destination = {
          server    = "https://kubernetes.default.svc"
          namespace = "argocd"
        }
        syncPolicy = { automated = { prune = true, selfHeal = true } }
      }
    }
  })]

  depends_on = [helm_release.argocd]
}
