resource "aws_route53_zone" "this" {
  #checkov:skip=CKV2_AWS_38:DNSSEC needs the parent zone to publish a DS record, which its owner must do
  #checkov:skip=CKV2_AWS_39:Query logs name every client that resolves the gateway, and must lie in us-east-1
  name    = var.domain
  comment = "${local.name}; delegate it from its parent zone"

  # external-dns' records would hold it back.
  force_destroy = var.environment != "prod"
}

# Only Amazon may issue certificates for the name.
resource "aws_route53_record" "caa" {
  zone_id = aws_route53_zone.this.zone_id
  name    = var.domain
  type    = "CAA"
  ttl     = 3600
  records = ["0 issue \"amazon.com\""]
}

# The record of the load balancer itself: external-dns (cluster.tf) writes it, since the Ingress makes the load balancer.
module "external_dns" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "2.8.1"

  name                          = "${local.name}-external-dns"
  attach_external_dns_policy    = true
  external_dns_hosted_zone_arns = [aws_route53_zone.this.arn]
}

module "certificate" {
  source  = "terraform-aws-modules/acm/aws"
  version = "6.3.0"

  domain_name       = var.domain
  zone_id           = aws_route53_zone.this.zone_id
  validation_method = "DNS"

  # It is issued once the zone has been delegated, which may be days later.
  wait_for_validation = false
}
