# rmaudit on a processor: docker build -t rmaudit . && docker run --rm -v "$PWD:/data" rmaudit audit --model ... --eval ...
# For a GPU leave TORCH_INDEX empty: PyPI's torch brings CUDA.
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 MPLBACKEND=Agg RMAUDIT_STORE=/data/.rmaudit/scores.sqlite HF_HOME=/data/.huggingface
WORKDIR /opt/rmaudit
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY rmaudit rmaudit
COPY probes probes
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} ".[hub]" \
 && useradd --create-home auditor
USER auditor
WORKDIR /data
ENTRYPOINT ["rmaudit"]
CMD ["--help"]
