"""Real content: H.264 in MPEG-TS, made by ffmpeg and counted by ffprobe."""

from .processes import run

TS_PACKET_BYTES = 188
FRAMES_PER_SECOND = 25


def make_mpegts(path, seconds, bits_per_second=4_000_000):
    """Writes `seconds` of a moving test picture with constant bit rate (muxrate) to `path`.

    25 frames a second, a key frame every half second, so that a late joiner can decode soon.
    `bits_per_second` is that of the whole MPEG-TS. Returns `path`.
    """
    video = bits_per_second * 8 // 10  # the rest is for headers; the multiplexer stuffs
    words = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    words += ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FRAMES_PER_SECOND}"]
    words += ["-t", seconds, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"]
    words += ["-pix_fmt", "yuv420p", "-g", FRAMES_PER_SECOND // 2, "-threads", 1]
    words += ["-b:v", video, "-maxrate", video, "-bufsize", video // 4]
    words += ["-muxrate", bits_per_second, "-f", "mpegts", path]
    run(words, timeout_s=60 + 4 * seconds)
    return path


def decoded_frames(path):
    """Number of pictures ffprobe decodes from the first video track of a file, 0 if none is there.

    A beginning or an end in the middle of a picture is not an error: a late joiner has that.
    """
    words = ["ffprobe", "-v", "quiet", "-count_frames", "-select_streams", "v:0"]
    words += ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path]
    shown = run(words, timeout_s=120, check=False).stdout
    counts = [int(word) for word in shown.replace(",", "\n").split() if word.isdigit()]
    return max(counts, default=0)
