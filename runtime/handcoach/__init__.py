"""HandCoach's runtime: what runs on the patient's laptop. Importing it opens nothing and writes nothing."""

import os
import sys

# OpenCV reads most of its settings once, when it is imported, and several of our modules import it: here is
# the one place that is always earlier.
if sys.platform == "win32":
    # With hardware transforms Media Foundation takes many seconds to open a camera (opencv#17687).
    os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
if sys.platform == "darwin":
    # OpenCV may not ask for the permission from a thread (opencv#16427); the system then asks by itself.
    os.environ.setdefault("OPENCV_AVFOUNDATION_SKIP_AUTH", "1")
# OpenCV's and FFmpeg's own complaints are no sentences for people; ours say what to do.
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# Real containers only: FFmpeg would draw a text file as a terminal, and follow a playlist onto the network.
os.environ.setdefault(
    "OPENCV_FFMPEG_CAPTURE_OPTIONS",
    "protocol_whitelist;file|format_whitelist;mov,mp4,matroska,webm,avi,asf,flv,mpeg,mpegts,ogg,m4v,mjpeg,gif",
)
# Since 1.29 onnxruntime's builds for Linux and macOS identify the machine in ~/.cache and report to Microsoft
# from their import on; its `disable_telemetry_events` comes too late for that. Releases differ in the name.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["ORT_TELEMETRY_DISABLED"] = "1"
