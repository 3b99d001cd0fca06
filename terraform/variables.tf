# What only the one who applies this can know. Everything else is decided in the file of its topic.

variable "environment" {
  description = "dev or prod: whether things may be lost to save money, and are thrown away with what is in them."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment is dev or prod."
  }
}

variable "region" {
  description = "The AWS region of everything here, Bedrock included."
  type        = string
}

variable "domain" {
  description = "The gateway's host name, for example gateway.example.com. A hosted zone of this name is made; delegate it to the name servers in the outputs."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain is a host name in lower case, without a trailing dot."
  }
}

variable "repository" {
  description = "The GitHub repository that holds this folder, as owner/name: Argo CD follows it, and its workflows may push images."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository is owner/name."
  }
}

variable "revision" {
  description = "The branch, tag or commit that Argo CD follows."
  type        = string
  default     = "main"
}

variable "cluster_admins" {
  description = "ARNs of the IAM roles that administer the cluster, by a name of your choice. Whoever applies this is one already."
  type        = map(string)
  default     = {}
}

variable "cluster_api_cidrs" {
  description = "Networks that may reach the cluster's API from outside the VPC. Empty: nobody may."
  type        = list(string)

  validation {
    condition     = !contains(var.cluster_api_cidrs, "0.0.0.0/0")
    error_message = "Open the cluster's API to networks that you know, not to everybody."
  }
}

variable "bedrock_models" {
  description = "Ids of the Bedrock foundation models that the bedrock worker may call, for example amazon.nova-lite-v1:0."
  type        = list(string)
  default     = []
}

variable "bedrock_profiles" {
  description = "Ids of the cross-region inference profiles that it may call, for example eu.amazon.nova-lite-v1:0. Their prompts may be answered in any region of the profile."
  type        = list(string)
  default     = []
}

variable "redis_node_type" {
  description = "ElastiCache node. The data is small; what counts is one fast core and the network (see scripts/simulator/README.md)."
  type        = string
  default     = "cache.r7g.large"
}

variable "spare" {
  description = "Whether to survive the loss of an availability zone: a NAT gateway in each, a replica of Redis that takes over."
  type        = bool
  default     = true
}
