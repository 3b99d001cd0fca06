output "kubeconfig" {
  description = "Makes kubectl speak to the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${module.eks.cluster_name}"
}

output "name_servers" {
  description = "Put these into the parent zone as the NS record of the domain."
  value       = aws_route53_zone.this.name_servers
}

output "certificate_arn" {
  description = "For the ALB Ingress of k8s/components."
  value       = module.certificate.acm_certificate_arn
}

output "image_repository" {
  description = "Where the workflow pushes the image."
  value       = module.images.repository_url
}

output "pusher_role_arn" {
  description = "The repository variable AWS_PUSHER_ROLE of the workflows."
  value       = module.pusher.arn
}

output "redis_address" {
  description = "For the ElastiCache component of k8s/components."
  value       = "${local.redis_host}:6379"
}

output "files_bucket" {
  description = "Batch files and exports."
  value       = module.files.s3_bucket_id
}

output "secrets" {
  description = "The names that External Secrets reads; llm-api-keys is empty until you fill it."
  value = sort([
    for secret in concat(
      [aws_secretsmanager_secret.providers, aws_secretsmanager_secret.redis],
      values(aws_secretsmanager_secret.master),
    ) : secret.name
  ])
}
