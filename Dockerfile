# Only a static binary: no shell, no package manager, not root.
# To renew a digest: docker buildx imagetools inspect golang:1.26-bookworm
FROM golang:1.26-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The version that usher version prints: docker build --build-arg VERSION=1.2.3
ARG VERSION
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -X main.version=${VERSION}" -o /usher ./cmd/usher

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/LICENSE /src/NOTICE /
COPY --from=build /usher /usher
USER 65532:65532
# Reachable from outside of the container. The operators' listener is not, unless
# USHER_OPS_LISTEN says so.
ENV USHER_LISTEN=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["/usher"]
CMD ["serve"]
