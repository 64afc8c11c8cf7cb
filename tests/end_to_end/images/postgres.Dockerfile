# Debian's PostgreSQL behind the face of the official image, as far as docker/compose.yaml uses it.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN mkdir -p /etc/postgresql-common \
    && echo create_main_cluster=false > /etc/postgresql-common/createcluster.conf \
    && apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends postgresql \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ \
    && install --directory --owner postgres --mode 700 /var/lib/postgresql/data \
    && install --directory --owner postgres --mode 3777 /run/postgresql
COPY --chmod=755 postgres-entrypoint /usr/local/bin/
ENV PGDATA=/var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
