% Computes a layer array on one image as MATLAB's reference pages describe its layers: plainly, in double precision.
% Nothing here knows of the package that is tested. An image is height x width x channels, features are a column.
1;

function y = forward(layers, x)
  y = x;
  for k = 1:numel(layers)
    y = compute(layers(k), y);
  end
end

function y = compute(layer, x)
  [a, o] = arguments(layer);
  switch layer.fn
    case {'imageInputLayer', 'featureInputLayer'}
      y = normalise(option(o, 'Normalization', ''), o, x);
    case 'convolution2dLayer'
      y = convolve(x, option(o, 'Weights', []), option(o, 'Bias', []), o, 1);
    case 'groupedConvolution2dLayer'
      y = convolve(x, option(o, 'Weights', []), option(o, 'Bias', []), o, 2);
    case 'transposedConv2dLayer'
      y = spread(x, option(o, 'Weights', []), option(o, 'Bias', []), o);
    case 'fullyConnectedLayer'
      y = double(option(o, 'Weights', [])) * x(:) + double(option(o, 'Bias', [])(:));
    case 'batchNormalizationLayer'
      y = (x - perchannel(option(o, 'TrainedMean', 0), x)) ./ sqrt(perchannel(option(o, 'TrainedVariance', 1), x) + option(o, 'Epsilon', 1e-5));
      y = y .* perchannel(option(o, 'Scale', 1), x) + perchannel(option(o, 'Offset', 0), x);
    case 'layerNormalizationLayer'
      if strcmp(option(o, 'OperationDimension', 'auto'), 'channel-only') && size(x, 3) > 1
        m = mean(x, 3); v = mean((x - m).^2, 3);
      else
        m = mean(x(:)); v = mean((x(:) - m).^2);
      end
      y = (x - m) ./ sqrt(v + option(o, 'Epsilon', 1e-5));
      y = y .* perchannel(option(o, 'Scale', 1), x) + perchannel(option(o, 'Offset', 0), x);
    case 'crossChannelNormalizationLayer'
      y = across(x, a{1}, option(o, 'Alpha', 1e-4), option(o, 'Beta', 0.75), option(o, 'K', 2));
    case 'reluLayer'
      y = max(x, 0);
    case 'leakyReluLayer'
      y = leaky(x, first(a, 0.01));
    case 'clippedReluLayer'
      y = min(max(x, 0), a{1});
    case 'eluLayer'
      y = x; alpha = first(a, 1); y(x < 0) = alpha * (exp(x(x < 0)) - 1);
    case 'tanhLayer'
      y = tanh(x);
    case 'sigmoidLayer'
      y = 1 ./ (1 + exp(-x));
    case 'swishLayer'
      y = x ./ (1 + exp(-x));
    case 'geluLayer'
      if strcmp(option(o, 'Approximation', 'none'), 'tanh')
        y = x / 2 .* (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x.^3)));
      else
        y = x / 2 .* (1 + erf(x / sqrt(2)));
      end
    case 'preluLayer'
      y = max(x, 0) + perchannel(option(o, 'Alpha', 0.25), x) .* min(x, 0);
    case 'softmaxLayer'
      d = 1 + 2 * (ndims(x) > 2 || size(x, 2) > 1);
      e = exp(x - max(x, [], d)); y = e ./ sum(e, d);
    case 'maxPooling2dLayer'
      y = pool(x, pair(a{1}), o, -Inf, @(w) max(w(:)));
    case 'averagePooling2dLayer'
      if ischar(option(o, 'PaddingValue', 0))
        y = pool(x, pair(a{1}), o, NaN, @(w) mean(w(!isnan(w))));
      else
        y = pool(x, pair(a{1}), o, 0, @(w) mean(w(:)));
      end
    case 'globalAveragePooling2dLayer'
      y = mean(mean(x, 1), 2);
    case 'globalMaxPooling2dLayer'
      y = max(max(x, [], 1), [], 2);
    case 'flattenLayer'
      y = x(:);
    case {'dropoutLayer', 'classificationLayer', 'regressionLayer'}
      y = x;
    otherwise
      error('no formula for %s', layer.fn);
  end
end

function y = leaky(x, scale)
  y = x;
  y(x < 0) = scale * x(x < 0);
end

function [a, o] = arguments(layer)
  % positional arguments, and the others by name
  a = {}; o = struct();
  count = struct('imageInputLayer', 1, 'featureInputLayer', 1, 'convolution2dLayer', 2, 'groupedConvolution2dLayer', 3, ...
    'transposedConv2dLayer', 2, 'fullyConnectedLayer', 1, 'crossChannelNormalizationLayer', 1, 'clippedReluLayer', 1, ...
    'maxPooling2dLayer', 1, 'averagePooling2dLayer', 1);
  all = layer.args; n = 0;
  if isfield(count, layer.fn)
    n = count.(layer.fn);
  elseif !isempty(all) && isnumeric(all{1})
    n = 1;
  end
  a = all(1:n);
  for k = n + 1:2:numel(all)
    o.(all{k}) = all{k + 1};
  end
end

function v = option(o, name, default)
  v = default;
  if isfield(o, name)
    v = o.(name);
  end
  if isnumeric(v)
    v = double(v);
  end
end

function v = first(a, default)
  v = default;
  if !isempty(a)
    v = a{1};
  end
end

function p = pair(v)
  p = [v(1) v(end)];
end

function y = perchannel(v, x)
  v = v(:);
  if size(x, 3) > 1 || size(x, 2) > 1
    v = reshape(v, 1, 1, numel(v));
  end
  y = v;
end

function y = normalise(kind, o, x)
  y = x;
  switch kind
    case {'', 'zerocenter'}
      y = x - option(o, 'Mean', 0);
    case 'zscore'
      y = (x - option(o, 'Mean', 0)) ./ option(o, 'StandardDeviation', 1);
    case {'rescale-zero-one', 'rescale-symmetric'}
      low = option(o, 'Min', 0); high = option(o, 'Max', 1);
      y = (x - low) ./ (high - low);
      if strcmp(kind, 'rescale-symmetric')
        y = 2 * y - 1;
      end
  end
end

function [p, s, d] = window(x, f, o)
  % top, bottom, left, right; stride; dilation
  s = pair(option(o, 'Stride', 1)); d = pair(option(o, 'DilationFactor', 1)); v = option(o, 'Padding', 0);
  if ischar(v)
    p = zeros(1, 4);
    for k = 1:2
      n = size(x, k); span = (f(k) - 1) * d(k) + 1;
      total = max((ceil(n / s(k)) - 1) * s(k) + span - n, 0);
      p(2 * k - 1) = floor(total / 2); p(2 * k) = ceil(total / 2);
    end
  elseif numel(v) == 1
    p = [v v v v];
  elseif numel(v) == 2
    p = [v(1) v(1) v(2) v(2)];
  else
    p = v(:)';
  end
end

function y = padded(x, p, value)
  y = value * ones(size(x, 1) + p(1) + p(2), size(x, 2) + p(3) + p(4), size(x, 3));
  y(p(1) + 1:p(1) + size(x, 1), p(3) + 1:p(3) + size(x, 2), :) = x;
end

function y = convolve(x, w, b, o, kind)
  f = [size(w, 1) size(w, 2)];
  [p, s, d] = window(x, f, o);
  b = double(b); groups = 1;
  if kind == 2
    groups = size(w, 5);
  end
  each = size(w, 3); filters = size(w, 4);
  x = padded(x, p, 0);
  rows = floor((size(x, 1) - (f(1) - 1) * d(1) - 1) / s(1)) + 1;
  columns = floor((size(x, 2) - (f(2) - 1) * d(2) - 1) / s(2)) + 1;
  y = zeros(rows, columns, filters * groups);
  for g = 1:groups
    part = x(:, :, (g - 1) * each + 1:g * each);
    for n = 1:filters
      kernel = double(w(:, :, :, n, g));
      for i = 1:rows
        for j = 1:columns
          at = part((i - 1) * s(1) + (0:f(1) - 1) * d(1) + 1, (j - 1) * s(2) + (0:f(2) - 1) * d(2) + 1, :);
          y(i, j, (g - 1) * filters + n) = sum(at(:) .* kernel(:)) + b(1, 1, n, g);
        end
      end
    end
  end
end

function y = spread(x, w, b, o)
  s = pair(option(o, 'Stride', 1)); f = [size(w, 1) size(w, 2)]; v = option(o, 'Cropping', 0);
  full = ([size(x, 1) size(x, 2)] - 1) .* s + f;
  y = zeros(full(1), full(2), size(w, 3));
  for i = 1:size(x, 1)
    for j = 1:size(x, 2)
      for c = 1:size(x, 3)
        at = {(i - 1) * s(1) + (1:f(1)), (j - 1) * s(2) + (1:f(2))};
        y(at{:}, :) += x(i, j, c) * double(w(:, :, :, c));
      end
    end
  end
  if ischar(v)
    total = f - s; p = [floor(total(1) / 2) ceil(total(1) / 2) floor(total(2) / 2) ceil(total(2) / 2)];
  elseif numel(v) == 1
    p = [v v v v];
  elseif numel(v) == 2
    p = [v(1) v(1) v(2) v(2)];
  else
    p = v(:)';
  end
  y = y(p(1) + 1:end - p(2), p(3) + 1:end - p(4), :) + reshape(double(b), 1, 1, numel(b));
end

function y = pool(x, f, o, value, reduce)
  [p, s] = window(x, f, o);
  x = padded(x, p, value);
  rows = floor((size(x, 1) - f(1)) / s(1)) + 1; columns = floor((size(x, 2) - f(2)) / s(2)) + 1;
  y = zeros(rows, columns, size(x, 3));
  for i = 1:rows
    for j = 1:columns
      for c = 1:size(x, 3)
        y(i, j, c) = reduce(x((i - 1) * s(1) + (1:f(1)), (j - 1) * s(2) + (1:f(2)), c));
      end
    end
  end
end

function y = across(x, w, alpha, beta, k)
  y = zeros(size(x)); n = size(x, 3);
  for c = 1:n
    around = x(:, :, max(1, c - floor((w - 1) / 2)):min(n, c + floor(w / 2)));
    y(:, :, c) = x(:, :, c) ./ (k + alpha * sum(around.^2, 3) / w) .^ beta;
  end
end
