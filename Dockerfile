# Only a static binary: no shell, no package manager, not root.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /usher ./cmd/usher

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/LICENSE /src/NOTICE /
COPY --from=build /usher /usher
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usher"]
CMD ["serve"]
