"""The mesh branch of RetinaFace: 128 + 7 + 9 parameters a face -> a coloured mesh -> a picture -> the loss of eq. 3.

``config``     sizes and weights of the loss, without torch
``topology``   our own triangulation, its pooling hierarchy and its landmarks
``template``   an average head-like surface on it, for a start without trained weights
``chebyshev``  graph convolution (eq. 2)
``decoder``    the joint shape and texture decoder
``pretrained`` its files
``camera``     the 7 camera parameters, head pose
``lighting``   the 9 illumination parameters, normals, shading
``rasteriser`` triangles -> which triangle is seen in a pixel, and where in it
``renderer``   all of them together: parameters -> picture
``loss``       crops of anchors and the dense regression loss (eq. 3)
``outputs``    parameters -> vertices in image pixels, 68 and five landmarks, yaw, pitch, roll
``branch``     all of it on a detector: head, loss, outputs
"""
