# The sharder's image: `make image` builds it, and says what to do where no image can be pulled (docs/install/image.md).
#   BUILD_BASE    Debian 12 or 13, with apt: the program is compiled there, and its libraries come from there
#   RUNTIME_BASE  below what they need; nothing, unless your rules ask for an image of yours
ARG BUILD_BASE=debian:12
ARG RUNTIME_BASE=scratch

FROM ${BUILD_BASE} AS build
WORKDIR /src
# The base may be older than the last security updates of its libraries.
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get upgrade -y -qq >/dev/null
COPY scripts/deps.sh scripts/
RUN scripts/deps.sh build && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates
COPY . .
ARG SHARDER_COMMIT=unknown
ARG JOBS=
RUN cmake --preset release && cmake --build --preset release --target sharder sharderctl -j "${JOBS:-$(nproc)}"
RUN scripts/image_root.sh /image build/bin/sharder build/bin/sharderctl && \
    install -D -m 644 LICENSE /image/usr/share/doc/sharder/copyright

# The example of a sharded controller: make image TARGET=checksum-controller
FROM build AS build-example
RUN cmake --build --preset release --target checksum-controller -j "${JOBS:-$(nproc)}"
RUN scripts/image_root.sh /image build/bin/checksum-controller build/bin/sharderctl && \
    install -D -m 644 LICENSE /image/usr/share/doc/sharder/copyright

FROM ${RUNTIME_BASE} AS checksum-controller
COPY --from=build-example /image/ /
LABEL org.opencontainers.image.title="checksum-controller" \
      org.opencontainers.image.description="A sharded controller that keeps checksums of Secrets: an example" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/checksum-controller"]

FROM ${RUNTIME_BASE} AS sharder
COPY --from=build /image/ /
ARG VERSION=unknown
ARG SHARDER_COMMIT=unknown
LABEL org.opencontainers.image.title="sharder" \
      org.opencontainers.image.description="Horizontal scaling for Kubernetes controllers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${SHARDER_COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/sharder"]
