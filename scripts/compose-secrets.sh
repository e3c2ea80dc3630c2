#!/usr/bin/env bash
# Creates the secrets for docker-compose.yml in ./secrets, once. The files are
# readable, because the containers read them as other users; the folder is not.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -e secrets ]; then
  echo "secrets/ already exists. To create new secrets, remove it together with the database's volume." >&2
  exit 1
fi
umask 077
mkdir secrets
hex() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
owner=$(hex) service=$(hex)
printf %s "$owner" >secrets/owner_password
printf %s "$service" >secrets/service_password
printf %s "postgres://usher_owner:$owner@postgres:5432/usher?sslmode=disable" >secrets/owner_url
printf %s "postgres://usher:$service@postgres:5432/usher?sslmode=disable" >secrets/service_url
head -c 32 /dev/urandom | base64 >secrets/key_encryption_key
chmod 444 secrets/*
echo "created secrets/. Keep a copy of key_encryption_key: without it, the signing keys are lost."
