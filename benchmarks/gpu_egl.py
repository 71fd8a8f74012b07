"""The rasterizer in the GPU's hardware: an OpenGL context without a window, writing primitive ids.

Plain ctypes on libEGL, so that nothing has to be installed; where there is no EGL, or no OpenGL
behind it, making one raises OSError with the reason.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_float, c_int, c_uint, c_void_p

import numpy as np

_EGL_NONE, _EGL_OPENGL = 0x3038, 0x30A2
_PLATFORMS = {"device": 0x313F, "surfaceless": 0x31DD}
_CONFIG = (0x3033, 0x0001, 0x3040, 0x0008, _EGL_NONE)  # pbuffers, OpenGL
_CONTEXT = (0x3098, 4, 0x30FB, 3, 0x30FD, 1, _EGL_NONE)  # 4.3, core
_FRAMEBUFFER, _RENDERBUFFER, _ARRAY, _ELEMENTS = 0x8D40, 0x8D41, 0x8892, 0x8893
_COLOUR, _DEPTH = 0x8CE0, 0x8D00
_R32UI, _DEPTH32F, _RED_INTEGER, _UNSIGNED = 0x8236, 0x8CAC, 0x8D94, 0x1405
_VERTEX = b"""#version 430 core
layout(location = 0) in vec3 position;
uniform mat4 clip_from_local;
void main() { gl_Position = clip_from_local * vec4(position, 1.0); }
"""
_FRAGMENT = b"""#version 430 core
layout(location = 0) out uint id;
void main() { id = uint(gl_PrimitiveID); }
"""


class HardwareRaster:
    """A picture of face ids drawn by hardware.

    Args:
        width: Of the picture.
        height: Of the picture.

    Raises:
        OSError: There is no EGL here, or no OpenGL 4.3 behind it.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._egl = ctypes.CDLL("libEGL.so.1")
        for name in ("eglGetProcAddress", "eglGetDisplay", "eglCreateContext"):
            getattr(self._egl, name).restype = c_void_p
        self._open()
        version = self._gl("glGetString", c_char_p, c_uint)
        self.renderer = version(0x1F01).decode()
        """Who draws, as OpenGL names it."""
        self._targets()
        self._program()
        self._faces = 0

    def upload(self, vertices: np.ndarray, faces: np.ndarray, clip: np.ndarray) -> None:
        """Give it a mesh, float32 [V, 3] and int32 [F, 3], and a camera [4, 4]."""
        data = self._gl("glBufferData", None, c_uint, ctypes.c_ssize_t, c_void_p, c_uint)
        for target, name, array in (
            (_ARRAY, self._points, np.ascontiguousarray(vertices, np.float32)),
            (_ELEMENTS, self._indices, np.ascontiguousarray(faces, np.int32)),
        ):
            self._gl("glBindBuffer", None, c_uint, c_uint)(target, name)
            data(target, array.nbytes, array.ctypes.data, 0x88E4)
        self._gl("glEnableVertexAttribArray", None, c_uint)(0)
        pointer = self._gl(
            "glVertexAttribPointer", None, c_uint, c_int, c_uint, ctypes.c_ubyte, c_int, c_void_p
        )
        pointer(0, 3, 0x1406, 0, 0, None)
        place = self._gl("glGetUniformLocation", c_int, c_uint, c_char_p)(
            self._shader, b"clip_from_local"
        )
        matrix = np.ascontiguousarray(clip, np.float32)
        uniform = self._gl("glUniformMatrix4fv", None, c_int, c_int, ctypes.c_ubyte, c_void_p)
        uniform(place, 1, 1, matrix.ctypes.data)
        self._faces = faces.size
        self._check("uploading")

    def draw(self) -> None:
        """Clear, draw the mesh, and wait until it is drawn."""
        nothing, far = (c_uint * 4)(*[0xFFFFFFFF] * 4), (c_float * 1)(1.0)
        self._gl("glClearBufferuiv", None, c_uint, c_int, c_void_p)(0x1800, 0, nothing)
        self._gl("glClearBufferfv", None, c_uint, c_int, c_void_p)(0x1801, 0, far)
        self._gl("glDrawElements", None, c_uint, c_int, c_uint, c_void_p)(
            0x0004, self._faces, _UNSIGNED, None
        )
        self._gl("glFinish", None)()

    def face_ids(self) -> np.ndarray:
        """Return what was drawn, int32 [height, width], -1 where nothing is."""
        found = np.empty((self.height, self.width), np.uint32)
        read = self._gl("glReadPixels", None, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p)
        read(0, 0, self.width, self.height, _RED_INTEGER, _UNSIGNED, found.ctypes.data)
        self._check("reading")
        return found.view(np.int32)

    def close(self) -> None:
        """Let go of everything."""
        self._egl.eglMakeCurrent(self._display, None, None, None)
        self._egl.eglDestroyContext(self._display, self._context)
        self._egl.eglTerminate(self._display)

    def _gl(self, name: str, result: type | None, *arguments: type) -> ctypes._CFuncPtr:
        address = self._egl.eglGetProcAddress(name.encode())
        if not address:
            raise OSError(f"no {name} in this OpenGL")
        return ctypes.CFUNCTYPE(result, *arguments)(address)

    def _open(self) -> None:
        """Make a context current on the first display that has one."""
        failures = []
        for platform, native in self._displays():
            get = self._gl("eglGetPlatformDisplayEXT", c_void_p, c_uint, c_void_p, c_void_p)
            display = c_void_p(get(platform, native, None))
            if not display or not self._egl.eglInitialize(display, None, None):
                failures.append("a display does not open")
                continue
            config, count = c_void_p(), c_int()
            self._egl.eglBindAPI(_EGL_OPENGL)
            wanted = (c_int * len(_CONFIG))(*_CONFIG)
            self._egl.eglChooseConfig(display, wanted, byref(config), 1, byref(count))
            made = (c_int * len(_CONTEXT))(*_CONTEXT)
            context = c_void_p(self._egl.eglCreateContext(display, config, None, made))
            if count.value and context and self._egl.eglMakeCurrent(display, None, None, context):
                self._display, self._context = display, context
                return
            failures.append("no OpenGL 4.3 context")
            self._egl.eglTerminate(display)
        raise OSError(f"no EGL display draws: {', '.join(failures) or 'there is none'}")

    def _displays(self) -> list[tuple[int, c_void_p | None]]:
        found: list[tuple[int, c_void_p | None]] = []
        try:
            query = self._gl("eglQueryDevicesEXT", c_uint, c_int, c_void_p, c_void_p)
        except OSError:
            pass
        else:
            devices, count = (c_void_p * 16)(), c_int()
            query(16, devices, byref(count))
            found = [(_PLATFORMS["device"], c_void_p(devices[i])) for i in range(count.value)]
        return [*found, (_PLATFORMS["surfaceless"], None)]

    def _targets(self) -> None:
        generate = {
            kind: self._gl(f"glGen{kind}", None, c_int, c_void_p)
            for kind in ("Framebuffers", "Renderbuffers", "VertexArrays", "Buffers")
        }

        def new(kind: str) -> int:
            name = c_uint()
            generate[kind](1, byref(name))
            return name.value

        self._gl("glBindFramebuffer", None, c_uint, c_uint)(_FRAMEBUFFER, new("Framebuffers"))
        for place, form in ((_COLOUR, _R32UI), (_DEPTH, _DEPTH32F)):
            buffer = new("Renderbuffers")
            self._gl("glBindRenderbuffer", None, c_uint, c_uint)(_RENDERBUFFER, buffer)
            self._gl("glRenderbufferStorage", None, c_uint, c_uint, c_int, c_int)(
                _RENDERBUFFER, form, self.width, self.height
            )
            self._gl("glFramebufferRenderbuffer", None, c_uint, c_uint, c_uint, c_uint)(
                _FRAMEBUFFER, place, _RENDERBUFFER, buffer
            )
        status = self._gl("glCheckFramebufferStatus", c_uint, c_uint)(_FRAMEBUFFER)
        if status != 0x8CD5:
            raise OSError(f"OpenGL refuses a picture of {self.width} x {self.height} ids")
        self._gl("glBindVertexArray", None, c_uint)(new("VertexArrays"))
        self._points, self._indices = new("Buffers"), new("Buffers")
        self._gl("glViewport", None, c_int, c_int, c_int, c_int)(0, 0, self.width, self.height)
        self._gl("glEnable", None, c_uint)(0x0B71)  # depth test

    def _program(self) -> None:
        self._shader = self._gl("glCreateProgram", c_uint)()
        for kind, text in ((0x8B31, _VERTEX), (0x8B30, _FRAGMENT)):
            shader = self._gl("glCreateShader", c_uint, c_uint)(kind)
            source = (c_char_p * 1)(text)
            self._gl("glShaderSource", None, c_uint, c_int, c_void_p, c_void_p)(
                shader, 1, source, None
            )
            self._gl("glCompileShader", None, c_uint)(shader)
            self._gl("glAttachShader", None, c_uint, c_uint)(self._shader, shader)
        self._gl("glLinkProgram", None, c_uint)(self._shader)
        linked = c_int()
        self._gl("glGetProgramiv", None, c_uint, c_uint, c_void_p)(
            self._shader, 0x8B82, byref(linked)
        )
        if not linked.value:
            raise OSError("OpenGL does not take the shaders")
        self._gl("glUseProgram", None, c_uint)(self._shader)

    def _check(self, what: str) -> None:
        error = self._gl("glGetError", c_uint)()
        if error:
            raise OSError(f"OpenGL failed while {what}: error {error:#x}")
