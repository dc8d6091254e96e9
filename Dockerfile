# docker build -t resight .                                  trains and predicts, on processors
# docker build -t resight:cuda --build-arg ACCELERATOR=cuda .   for NVIDIA GPUs
# docker build -t resight:predict --target predict .         predicts with exported models: no torch
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" resight train crop_disease leaves --out runs/leaves
# docker run --rm --gpus all --shm-size 4g -v "$PWD:/data" resight:cuda doctor
# docker run --rm -v "$PWD:/data" resight:predict predict leaves-onnx photos --out predictions
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS base

ENV PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv UV_NO_CACHE=1 UV_HTTP_TIMEOUT=300
WORKDIR /opt/resight
COPY bootstrap.lock requirements.lock ./
# setuptools, as the lock has it, makes the wheel of resight itself.
RUN python -m venv /opt/venv \
 && pip install --quiet --no-cache-dir --no-deps --require-hashes -r bootstrap.lock \
 && sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock > setuptools.lock \
 && uv pip install --require-hashes --no-deps --requirement setuptools.lock \
 && useradd --create-home --uid 1000 resight \
 && mkdir --mode 1777 /data /cache

# Weights, prepared images and what libraries keep; any user that --user names may write there.
ENV HOME=/cache RESIGHT_HOME=/cache/resight HF_HOME=/cache/huggingface MPLCONFIGDIR=/cache/matplotlib
HEALTHCHECK --interval=60s --timeout=30s CMD ["resight", "--version"]
ENTRYPOINT ["resight"]
CMD ["--help"]

FROM base AS predict
COPY core/prediction/requirements.txt ./
RUN uv pip install --require-hashes --only-binary :all: --requirement requirements.txt
COPY . .
RUN uv pip install --no-deps --no-build-isolation --no-index . \
 && rm -rf build resight.egg-info
USER resight
WORKDIR /data

FROM base AS train
# Pango prints PDF copies of reports.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core \
 && rm -rf /var/lib/apt/lists/*

# cuda: torch as the lock has it, by hash; its wheels bring the CUDA libraries. cpu: the same
# version without them (7 GB less), which only torch's own index has, under other hashes.
ARG ACCELERATOR=cpu
COPY pyproject.toml ./
RUN case "$ACCELERATOR" in \
    cuda) uv pip install --require-hashes --only-binary :all: --requirement requirements.lock ;; \
    cpu) sed 's/ *\\$//; /^ *--hash/d' requirements.lock > versions.txt \
      && uv pip install --only-binary :all: --torch-backend cpu --constraint versions.txt \
           --requirement pyproject.toml --extra dicom --extra geo --extra pdf --extra heic \
           --extra export --extra volumes --extra cloud --extra ray setuptools ;; \
    *) echo "ACCELERATOR is cpu or cuda, not '$ACCELERATOR'" >&2; exit 2 ;; \
    esac

COPY . .
RUN uv pip install --no-deps --no-build-isolation --no-index . \
 && rm -rf build resight.egg-info
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER resight
WORKDIR /data
